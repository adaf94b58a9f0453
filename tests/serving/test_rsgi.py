"""The application as the HTTP server calls it."""

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from textgate.serving.app import Application
from textgate.serving.metrics import Metrics
from textgate.serving.routing import Request, Response, Route
from textgate.serving.rsgi import RsgiApplication
from textgate.serving.schemas import ClassifyRequest


class Headers(dict[str, str]):
    def get_all(self, name: str) -> list[str]:
        return [self[name]] if name in self else []


class Protocol:
    """Body and response of a request; the body never arrives."""

    status = 0

    def __aiter__(self) -> "Protocol":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status


async def answer(request: Request) -> Response:
    return Response(b"{}")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": "999999999"}, 413),
        ({"content-length": "9", "content-type": "text/plain"}, 415),
        ({"content-length": "9", "content-encoding": "br"}, 415),
        ({"transfer-encoding": "gzip, chunked"}, 501),
        ({"content-length": "9", "host": "other.example"}, 403),
    ],
)
def test_a_rejected_request_keeps_nothing_of_its_connection_alive(headers: dict[str, str], status: int) -> None:
    """Otherwise the connection would stay open until the next garbage collection."""
    route: Any = Route("POST", "/", answer, request_model=ClassifyRequest)
    application = Application([route], None, ["localhost"], 1_000, Metrics(), None)
    scope: Any = SimpleNamespace(
        http_version="1.1",
        method="POST",
        path="/",
        authority=None,
        client="127.0.0.1:1",
        headers=Headers({"host": "localhost", **headers}),
    )

    async def run() -> "tuple[weakref.ref[Protocol], int]":
        protocol: Any = Protocol()
        await RsgiApplication(application).__rsgi__(scope, protocol)
        return weakref.ref(protocol), protocol.status

    gc.collect()
    gc.disable()
    try:
        protocol, sent = asyncio.run(run())
        assert (sent, protocol()) == (status, None)
    finally:
        gc.enable()
