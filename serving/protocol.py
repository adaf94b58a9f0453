"""HTTP/1.1 connections (RFC 9112): requests are read within limits and answered in order, each with one write.

The parser is httptools, which uvicorn uses too. The rest is own code: a small model classifies a headline in one or two
milliseconds, and on a small machine a general-purpose server adds as much again to each request.
"""

import asyncio
import logging
import math
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote

import httptools

from textgate.serving.app import Application
from textgate.serving.errors import RequestError
from textgate.serving.log import log_event, request_id
from textgate.serving.routing import Request, Response

_HEAD_SECONDS, _BODY_SECONDS, _IDLE_SECONDS = 10.0, 30.0, 75.0
"""Timeouts for the request line and headers, for the body, and for the next request of a connection."""
_LINGER_SECONDS = 5.0
"""Time for which the rest of a rejected request is discarded, so that the client can read the error (RFC 9112, 9.6)."""
_MAX_HEAD_BYTES = 64 * 1024
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode("ascii")) for status in HTTPStatus}
# OWASP, "HTTP Headers Cheat Sheet"; the page has no inline scripts and loads nothing from other origins.
_SECURITY_HEADERS = (
    b"content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"referrer-policy: no-referrer\r\n"
    b"cross-origin-resource-policy: same-origin\r\n"
    b"cache-control: no-store\r\n"
)


class Connections:
    """Open connections of a server: it times them out and drains them."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.date_header = b""
        self.open: set[Connection] = set()
        self.draining = False
        self._empty = asyncio.Event()
        self._clock = asyncio.create_task(self._tick())

    def connect(self) -> "Connection":
        """Return the protocol object of a new connection."""
        return Connection(self)

    def remove(self, connection: "Connection") -> None:
        """Forget a connection that was closed."""
        self.open.discard(connection)
        if self.draining and not self.open:
            self._empty.set()

    async def drain(self, seconds: float) -> None:
        """Close each connection when its requests are answered, and all connections after ``seconds``."""
        self.draining = True
        for connection in list(self.open):
            connection.close_when_idle()
        if self.open:
            try:
                await asyncio.wait_for(self._empty.wait(), seconds)
            except TimeoutError:
                for connection in list(self.open):
                    connection.abort()
        self._clock.cancel()

    async def _tick(self) -> None:
        while True:
            self.date_header = b"date: %s\r\n" % formatdate(usegmt=True).encode("ascii")
            now = time.monotonic()
            for connection in [each for each in self.open if each.deadline < now]:
                connection.time_out()
            await asyncio.sleep(1)


class Connection(asyncio.Protocol):
    """Connection of one client; the methods that begin with ``on_`` are callbacks of the parser."""

    def __init__(self, connections: Connections) -> None:
        self._connections, self._application = connections, connections.application
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Request | None = None
        """Request whose body is being read."""
        self._complete: deque[tuple[Request, bool]] = deque()
        """Requests that wait for their turn, and whether the connection stays open after each."""
        self._task: asyncio.Task[None] | None = None
        self._head_bytes = 0
        self._in_head = self._paused = self._input_ended = self._closing = False
        self.deadline = time.monotonic() + _HEAD_SECONDS
        """Time at which the client must have sent more, on the clock of ``time.monotonic``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Register the connection."""
        self._transport = transport
        self._connections.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the work on requests that no client waits for."""
        self._closing = True
        if self._task:
            self._task.cancel()
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        if self._input_ended or self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself is complete; the bytes after it would be of another protocol, which is not supported.
            self._input_ended = True
        except httptools.HttpParserCallbackError as error:
            log_event("a request failed", logging.ERROR, error)
            self._reject(RequestError(500, "the server failed on this request; its log says how"))
        except httptools.HttpParserError as error:
            self._reject(RequestError(400, f"this is not an HTTP request: {error}"))
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._reject(RequestError(431, f"the headers are larger than {_MAX_HEAD_BYTES} bytes"))

    def pause_writing(self) -> None:
        """Stop reading while the client does not read its responses."""
        self._pause()

    def resume_writing(self) -> None:
        """Read again when the client has read its responses."""
        if not self._complete:
            self._resume()

    def time_out(self) -> None:
        """Reject a body that did not arrive in time; close an idle connection."""
        if self._reading and not self._closing:
            self._reject(RequestError(408, f"the body did not arrive within {_BODY_SECONDS:.0f} s"))
        else:
            self.abort()

    def close_when_idle(self) -> None:
        """Close now if no request is read or answered; otherwise the last response closes the connection."""
        if self._task is None and self._reading is None:
            self._close()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self._closing = True
        self._transport.abort()

    def on_message_begin(self) -> None:
        """Start to read a request."""
        self._url, self._headers = b"", dict[bytes, bytes]()
        self._in_head, self._head_bytes = True, 0
        self.deadline = time.monotonic() + _HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        """Append a part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Route and authorize the request, before its body is read."""
        self._in_head = False
        self.deadline = time.monotonic() + _BODY_SECONDS
        try:
            path = (httptools.parse_url(self._url).path or b"/").decode("latin-1")
        except httptools.HttpParserInvalidURLError:
            self._reject(RequestError(400, "this is not an HTTP request: its target is not a URL"))
            return
        method = self._parser.get_method().decode("ascii")
        request = self._application.start_request(method, unquote(path) if "%" in path else path, self._headers)
        self._reading, self._body, self._size = request, list[bytes](), 0
        if request.error is None and self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Store a part of the body; the body of a rejected request is discarded."""
        request = self._reading
        if request is None or self._input_ended or self._closing:
            return
        self._size += len(body)
        if self._size > self._application.max_body_bytes or (request.error and request.error.status == 413):
            self._reject(self._application.body_too_large())
        elif request.error is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue a complete request, and start to answer if no other is being answered."""
        request = self._reading
        if request is None or self._input_ended or self._closing:
            return
        self._reading = None
        request.received = time.perf_counter()
        request.body = b"".join(self._body)
        self._complete.append((request, self._parser.should_keep_alive()))
        self.deadline = math.inf
        if self._task is None:
            self._answer_next()
        else:
            self._pause()

    def _answer_next(self) -> None:
        """Answer the complete requests in order."""
        while self._complete:
            request, keep_alive = self._complete.popleft()
            if not self._complete:
                self._resume()
            if request.error:
                self._send(request, self._application.error_response(request.error), keep_alive)
            else:
                self._task = asyncio.create_task(self._answer(request, keep_alive))
                return
            if self._closing:
                return
        self._task = None
        if self._reading is None and not self._in_head:
            self.deadline = time.monotonic() + _IDLE_SECONDS
            if self._connections.draining:
                self._close()

    async def _answer(self, request: Request, keep_alive: bool) -> None:
        self._send(request, await self._application.respond(request), keep_alive)
        if not self._closing:
            self._answer_next()

    def _reject(self, error: RequestError) -> None:
        """Queue the error for a request that cannot be read to its end; close after it."""
        if self._input_ended or self._closing:
            return
        self._input_ended = True
        self.deadline = math.inf
        request = self._reading or Request("", "", {}, request_id({}))
        request.error = error
        self._complete.append((request, False))
        if self._task is None:
            self._answer_next()

    def _send(self, request: Request, response: Response, keep_alive: bool) -> None:
        keep_alive = keep_alive and not (self._input_ended and not self._complete) and not self._connections.draining
        head = [
            _STATUS_LINES[response.status],
            b"content-type: %s\r\ncontent-length: %d\r\n" % (response.content_type, len(response.body)),
            b"x-request-id: %s\r\n" % request.id.encode("ascii"),
            self._connections.date_header,
            _SECURITY_HEADERS,
            *(b"%s: %s\r\n" % header for header in response.headers),
            b"connection: keep-alive\r\n\r\n" if keep_alive else b"connection: close\r\n\r\n",
        ]
        if request.method != "HEAD":
            head.append(response.body)
        self._transport.write(b"".join(head))
        if not keep_alive:
            self._close()
        self._application.record(request, response.status)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._transport.resume_reading()

    def _close(self) -> None:
        """Close once the client has read its response, or has had the time to."""
        self._closing = True
        self.deadline = time.monotonic() + _LINGER_SECONDS
        if self._reading and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
