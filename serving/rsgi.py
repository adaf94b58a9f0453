"""RSGI application: it reads a request within limits, has it answered, and writes the response with its headers.

RSGI is the interface of the HTTP server granian (github.com/emmett-framework/granian, docs/spec/RSGI.md). The server
does the framing: it limits headers, rejects what is not HTTP, sends ``100 Continue`` when the body is read, and reads
the next request of a connection when this one is answered.
"""

import asyncio
import time
from collections.abc import Mapping

from textgate.serving.app import Application
from textgate.serving.errors import RequestError
from textgate.serving.request_body import BodyReader, HeldBytes, discard
from textgate.serving.routing import Request, Response
from textgate.serving.rsgi_types import Disconnect, HttpProtocol, Scope

_DISCONNECT_SECONDS = 0.1
"""Time after which a request that is still being answered is cancelled when its client disconnects."""
_CLIENT_CLOSED_REQUEST = 499
"""Status that nginx logs for a client that closed the connection before the response."""
# OWASP, "HTTP Headers Cheat Sheet"; the page has no inline scripts and loads nothing from other origins.
_HEADERS = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("server", "textgate"),
]
_CLOSE = ("connection", "close")


class RsgiApplication:
    """RSGI callable of an application."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._bodies = BodyReader(application.max_body_bytes)
        self.requests: dict[int, int] = {}
        """Number of running requests by the client's port."""
        self.draining = False
        """True to have clients close their connections."""

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer a request."""
        client = int(scope.client.rpartition(":")[2])
        self.requests[client] = self.requests.get(client, 0) + 1
        try:
            await self._handle(scope, protocol)
        finally:
            self.requests[client] -= 1

    async def _handle(self, scope: Scope, protocol: HttpProtocol) -> None:
        application, version = self._application, scope.http_version
        headers = _combine(scope.headers.items())
        host = scope.authority or headers.get("host", "")
        request = application.start_request(scope.method, scope.path, host, headers)
        if version == "1.1" and len(scope.headers.get_all("host")) != 1:
            request.error = RequestError(400, "an HTTP/1.1 request has exactly one Host header (RFC 9112, 3.2)")
        if version == "2" and headers.get("host", host) != host:
            request.error = RequestError(400, "the Host header differs from :authority (RFC 9113, 8.3.1)")
        has_unread_body = _has_body(version, headers)
        if request.error is None and request.route and request.route.request_model and has_unread_body:
            with self._bodies.hold() as held:
                has_unread_body = not await self._read_body(request, version, protocol, held)
                await self._answer(request, version, protocol)
        else:
            await self._answer(request, version, protocol)
        if has_unread_body and version != "2" and "expect" not in headers:
            await discard(protocol)

    async def _read_body(self, request: Request, version: str, protocol: HttpProtocol, held: HeldBytes) -> bool:
        """Read the body of a request and return True; set ``error`` and return False if that cannot be done."""
        try:
            request.body = await self._bodies.read(request.headers, version, protocol, held)
            return True
        except RequestError as error:
            # Its frames hold what has been read, and would live until the next garbage collection.
            error.__cause__ = error.__context__ = None
            request.error = error.with_traceback(None)
            return False

    async def _answer(self, request: Request, version: str, protocol: HttpProtocol) -> None:
        """Have a request answered, unless it was rejected or its client disconnects."""
        if request.error is not None:
            self._send(request, self._application.error_response(request.error), version, protocol)
            return
        request.received = time.perf_counter()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (granian runs the application in a task)
        watch: Disconnect | None = None

        def start_to_watch() -> None:
            nonlocal watch
            watch = protocol.client_disconnect()
            watch.add_done_callback(lambda future: None if future.cancelled() else task.cancel())

        # Most requests are answered earlier, and pay for a timer only.
        timer = asyncio.get_running_loop().call_later(_DISCONNECT_SECONDS, start_to_watch)
        try:
            response = await self._application.respond(request)
        except asyncio.CancelledError:
            response = Response(b"", _CLIENT_CLOSED_REQUEST)
        finally:
            timer.cancel()
            if watch is not None:
                watch.cancel()
        self._send(request, response, version, protocol)

    def _send(self, request: Request, response: Response, version: str, protocol: HttpProtocol) -> None:
        headers = [
            ("content-type", response.content_type),
            ("x-request-id", request.id),
            *_HEADERS,
            *response.headers,
        ]
        # The rest of a body that is too large or malformed is not read, so the connection cannot be used again.
        unread = request.error is not None and (request.error.status in (400, 408, 413) or "expect" in request.headers)
        if version != "2" and (self.draining or unread):
            headers.append(_CLOSE)
        body = response.body
        if request.method == "HEAD":  # over HTTP/2, the server would send the body
            headers.append(("content-length", str(len(body))))
            body = b""
        protocol.response_bytes(response.status, headers, body)
        self._application.record(request, response.status)


def _combine(fields: list[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name; the values of one that occurs several times are a list (RFC 9110, 5.3).

    A header that takes one value, such as Content-Length, is therefore invalid if it occurs several times.
    """
    headers = dict(fields)
    if len(headers) < len(fields):
        headers = {}
        for name, value in fields:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _has_body(version: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request has a body (RFC 9112, 6.3); over HTTP/2 it can have one without announcing it."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers or version == "2"
