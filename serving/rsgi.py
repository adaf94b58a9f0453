"""RSGI application: it reads a request within limits, has it answered, and writes the response with its headers.

RSGI is the interface of the HTTP server granian (github.com/emmett-framework/granian, docs/spec/RSGI.md). The server
does the framing: it limits headers, rejects what is not HTTP, sends ``100 Continue`` when the body is read, and reads
the next request of a connection when this one is answered.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from textgate.serving.app import Application
from textgate.serving.errors import RequestError
from textgate.serving.routing import Request, Response

_BODY_SECONDS = 30.0
"""Time for a body to arrive."""
_DISCARD_SECONDS, _DISCARD_BYTES = 5.0, 2**26
"""Limits within which the rest of a rejected body is discarded, so that the client can read the error (RFC 9112,
9.6)."""
_MAX_CHUNKS = 2**13
"""Number of chunks, or DATA frames, of a body: each costs about 60 µs, even an empty one."""
_BUFFERED_BODIES = 32
"""Total size of the bodies that are held at the same time, in bodies of the maximum size."""
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


class _Headers(Protocol):
    """Headers of a request, names in lower case."""

    def items(self) -> list[tuple[str, str]]: ...

    def get_all(self, name: str) -> list[str]: ...


class Scope(Protocol):
    """Head of an HTTP request."""

    http_version: str
    method: str
    path: str
    """Path, percent-decoded."""
    authority: str | None
    """Host of a request over HTTP/2, or of one with an absolute target."""
    headers: _Headers


class _Disconnect(Protocol):
    """Future that is done when the client has disconnected."""

    def add_done_callback(self, callback: Callable[["_Disconnect"], object]) -> None: ...

    def cancel(self) -> bool: ...

    def cancelled(self) -> bool: ...


class HttpProtocol(Protocol):
    """Body and response of an HTTP request."""

    def __call__(self) -> Awaitable[bytes]:
        """Return the body; raise RuntimeError if it is cut off."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Start to read the body in chunks; raise RuntimeError if it is being read."""
        ...

    def __anext__(self) -> Awaitable[bytes]:
        """Return the next chunk of the body; an empty one at its end."""
        ...

    def client_disconnect(self) -> _Disconnect:
        """Return a future that is done when the client has disconnected."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Write the response."""
        ...


class RsgiApplication:
    """RSGI callable of an application."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._buffered_bytes = 0
        self.draining = False
        """True to have clients close their connections."""

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer a request."""
        application, version = self._application, scope.http_version
        headers = _combine(scope.headers.items())
        host = scope.authority or headers.get("host", "")
        request = application.start_request(scope.method, scope.path, host, headers)
        if version == "1.1" and len(scope.headers.get_all("host")) != 1:
            request.error = RequestError(400, "an HTTP/1.1 request has exactly one Host header (RFC 9112, 3.2)")
        if version == "2" and headers.get("host", host) != host:
            request.error = RequestError(400, "the Host header differs from :authority (RFC 9113, 8.3.1)")
        has_body = _has_body(version, headers)
        if request.error is None and request.route and request.route.request_model and has_body:
            size = application.max_body_bytes
            if "content-encoding" not in headers:
                size = int(headers.get("content-length", size))
            self._buffered_bytes += size
            try:
                await self._read_body(request, version, protocol)
                await self._answer(request, version, protocol)
            finally:
                self._buffered_bytes -= size
        else:
            await self._answer(request, version, protocol)
        if has_body and version != "2" and "expect" not in headers:
            await _discard(protocol)

    async def _read_body(self, request: Request, version: str, protocol: HttpProtocol) -> None:
        """Read the body of a request, and inflate it if it is compressed; set ``error`` if that cannot be done."""
        try:
            if self._buffered_bytes > _BUFFERED_BODIES * self._application.max_body_bytes:
                raise RequestError(429, "the server holds too many large requests: try again in 1 s", retry_after=1)
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._receive(version, request.headers, protocol)
            encoding = request.headers.get("content-encoding", "identity").strip().lower()
            request.body = body if encoding == "identity" else await asyncio.to_thread(self._inflate, body, encoding)
        except TimeoutError:
            request.error = RequestError(408, f"the body did not arrive within {_BODY_SECONDS:.0f} s")
        except RequestError as error:
            request.error = error

    async def _receive(self, version: str, headers: Mapping[str, str], protocol: HttpProtocol) -> bytes:
        """Return a body as it was sent.

        Raises:
            RequestError: 400 if it is cut off or malformed; 413 if it is too large; 501 for another transfer encoding.
        """
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise RequestError(501, "the only supported Transfer-Encoding is chunked; use Content-Encoding for gzip")
        if "content-length" in headers:
            try:
                return await protocol()
            except RuntimeError as error:  # granian's RSGIProtocolClosed
                raise RequestError(400, "the body ended before its announced length") from error
        return await self._receive_chunks(version, protocol)

    async def _receive_chunks(self, version: str, protocol: HttpProtocol) -> bytes:
        chunks: list[bytes] = []
        size = empty = 0
        async for chunk in protocol:
            size += len(chunk)
            if size > self._application.max_body_bytes:
                raise self._application.body_too_large()
            if len(chunks) == _MAX_CHUNKS:
                raise RequestError(413, f"the body has more than {_MAX_CHUNKS} chunks")
            empty = 0 if chunk else empty + 1
            chunks.append(chunk)
        # granian yields one empty chunk at the end, and another one before it for an error or a trailer section.
        if empty > 1 and version != "2":
            raise RequestError(400, "the chunked body is malformed, cut off, or has a trailer section")
        return b"".join(chunks)

    def _inflate(self, body: bytes, encoding: str) -> bytes:
        """Decompress a body within the size limit.

        Raises:
            RequestError: 400 if it is not one complete gzip or zlib stream; 413 if it is larger than the limit; 415 for
                another encoding.
        """
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise RequestError(
                415,
                f"the Content-Encoding {encoding[:50]!r} is not supported: use gzip or deflate",
                headers=[("accept-encoding", "gzip, deflate")],
            )
        limit = self._application.max_body_bytes
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            inflated = stream.decompress(body, limit + 1)
        except zlib.error as error:
            raise RequestError(400, f"the compressed body cannot be read: {error}") from error
        if len(inflated) > limit:
            raise self._application.body_too_large()
        if not stream.eof or stream.unused_data:
            raise RequestError(400, "the compressed body is not one complete gzip or zlib stream")
        return inflated

    async def _answer(self, request: Request, version: str, protocol: HttpProtocol) -> None:
        """Have a request answered, unless it was rejected or its client disconnects."""
        if request.error is not None:
            self._send(request, self._application.error_response(request.error), version, protocol)
            return
        request.received = time.perf_counter()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (granian runs the application in a task)
        watch: _Disconnect | None = None

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


async def _discard(protocol: HttpProtocol) -> None:
    """Read and discard what is left of a body, if anything."""
    size = 0
    with suppress(RuntimeError):  # if reading has begun
        protocol.__aiter__()
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while size < _DISCARD_BYTES and (chunk := await protocol.__anext__()):
                size += len(chunk)
    except (StopAsyncIteration, TimeoutError):
        pass
