"""The OpenAPI 3.1 document of the HTTP interface, derived from the table of routes."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from textgate.serving.open_inference import SERVER_VERSION
from textgate.serving.routing import JSON, Request, Response, Route
from textgate.serving.schemas import ERROR, JsonSchema

_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}, "example": "films"}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "example": "605127f62e6b"}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Id of the request, returned in the response and logged; generated if it is missing.",
    "schema": {"type": "string", "maxLength": 128, "pattern": "^[!-~]+$"},
}
_ERRORS = {
    400: "The request cannot be read.",
    401: "The API key is missing or unknown.",
    403: "The API key is not an admin key, or the request comes from another web site.",
    404: "The model or version is not served.",
    405: "The path does not support this method.",
    408: "The body did not arrive in time.",
    413: "The body is too large, compressed or not.",
    415: "The body is not JSON, or is compressed with something else than gzip or deflate.",
    422: "A key of the body, or the number or length of its texts, is invalid.",
    429: "The server is overloaded: Retry-After says when to try again.",
    500: "The server failed; its log has the cause.",
    503: "No model is ready.",
    504: "The deadline passed before the response was ready.",
    507: "Feedback cannot be written to the disk of the server, or too much of it waits for the store.",
}


def openapi_document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of the routes that have a summary."""
    schemas: dict[str, JsonSchema] = {"Error": ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.summary is not None:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, route.summary, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "textgate",
            "version": SERVER_VERSION,
            "description": "Text classifiers, served from the bundle that passed the gate.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def openapi_route(routes: Iterable[Route]) -> Route:
    """Return the route ``/openapi.json``, whose document is rendered once."""
    body = json.dumps(openapi_document(routes), ensure_ascii=False).encode("utf-8")

    async def handler(request: Request) -> Response:
        return Response(body)

    return Route("GET", "/openapi.json", handler, role=None)


def _operation(route: Route, summary: str, schemas: dict[str, JsonSchema]) -> dict[str, Any]:
    """Return the operation object of a route; add the schemas that it refers to."""
    responses = {str(route.success_status): _response(summary, route.response_schema or {}, route.media_type)}
    if route.binary_response:
        # Tensors that are requested in binary form follow the JSON.
        responses[str(route.success_status)]["content"]["application/octet-stream"] = {}
    for status, description in _ERRORS.items():
        responses[str(status)] = _response(description, {"$ref": "#/components/schemas/Error"})
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            *([_MODEL] if "{model}" in route.path else []),
            *([_VERSION] if "{version}" in route.path else []),
            _REQUEST_ID,
        ],
        "responses": responses,
    }
    if route.request_model is not None:
        (reference,), components = msgspec.json.schema_components(
            [route.request_model], ref_template="#/components/schemas/{name}"
        )
        schemas.update(components)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    return operation


def _response(description: str, schema: JsonSchema, media_type: str = JSON) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}
