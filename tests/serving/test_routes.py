"""The route table and the OpenAPI document that is derived from it."""

from types import SimpleNamespace
from typing import Any

import pytest

from textgate.serving.app import Application
from textgate.serving.metrics import Metrics
from textgate.serving.openapi import openapi_document
from textgate.serving.routes import all_routes
from textgate.serving.routing import Route

# Routes that are not part of the documented interface; the other undocumented ones are files of the page.
UNDOCUMENTED = {("GET", "/openapi.json")}


@pytest.fixture(scope="module")
def routes() -> list[Route]:
    endpoint: Any = SimpleNamespace(batcher=SimpleNamespace(check_capacity=lambda: None))
    return all_routes(endpoint)


@pytest.fixture(scope="module")
def document(routes: list[Route]) -> dict[str, Any]:
    return openapi_document(routes)


def test_every_route_is_described_once_and_every_description_is_a_route(
    routes: list[Route], document: dict[str, Any]
) -> None:
    described = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    table = [(route.method, route.path) for route in routes if route.summary is not None]
    assert sorted(described) == sorted(table)
    assert len(set(table)) == len(table)


def test_only_the_document_and_the_page_are_undocumented(routes: list[Route]) -> None:
    undocumented = {(route.method, route.path) for route in routes if route.summary is None}
    files = undocumented - UNDOCUMENTED
    assert undocumented >= UNDOCUMENTED
    assert ("GET", "/") in files
    assert all(path == "/" or path.endswith((".js", ".css")) for _, path in files)


def test_the_description_of_a_route_has_its_schemas_and_status(routes: list[Route], document: dict[str, Any]) -> None:
    for route in routes:
        if route.summary is None:
            continue
        operation = document["paths"][route.path][route.method.lower()]
        success = operation["responses"][str(route.success_status)]
        assert operation["summary"] == route.summary
        assert success["content"][route.media_type]["schema"] == route.response_schema, route.path
        assert ("requestBody" in operation) == (route.request_model is not None)
        if route.request_model is not None:
            assert route.request_model.__name__ in document["components"]["schemas"]
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == {name for name in ("model", "version") if f"{{{name}}}" in route.path}


def test_every_documented_route_requires_a_key_except_health(routes: list[Route]) -> None:
    public = {route.path for route in routes if route.summary is not None and route.role is None}
    assert public == {"/v2/health/live", "/v2/health/ready", "/health"}
    admin = {route.path for route in routes if route.role == "admin"}
    assert admin == {"/v2/repository/models/{model}/load", "/v2/repository/models/{model}/unload"}


def test_every_route_is_found_by_its_method_and_path(routes: list[Route]) -> None:
    application = Application(routes, None, (), 2**20, Metrics(), None)
    for route in routes:
        path = route.path.replace("{model}", "films").replace("{version}", "605127f62e6b")
        assert application.start_request(route.method, path, "localhost", {}).route == route
