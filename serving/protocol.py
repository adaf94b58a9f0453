"""HTTP/1.1 on a connection (RFC 9112): requests are read within limits, answered in their order, each in one write.

Only the parser is a library's, httptools, on which uvicorn stands too: with a small model a headline takes a
millisecond or two, and what a general server does around a request takes as long as that on a small machine.
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

from textgate.serving.app import Http, Request, Response
from textgate.serving.errors import RequestError
from textgate.serving.log import log_event, request_id

_HEAD_SECONDS, _BODY_SECONDS, _IDLE_SECONDS = 10.0, 30.0, 75.0
"""Until a request's line and headers, its body, and a further request must have come."""
_LINGER_SECONDS = 5.0
"""What a client still sends after it was refused is thrown away, so that it comes to read why (RFC 9112, 9.6)."""
_HEAD_BYTES = 64 * 1024
_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode("ascii")) for status in HTTPStatus}
# OWASP, "HTTP Headers Cheat Sheet"; the page has neither inline scripts nor anything from elsewhere.
_SECURITY = (
    b"content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"referrer-policy: no-referrer\r\n"
    b"cross-origin-resource-policy: same-origin\r\n"
    b"cache-control: no-store\r\n"
)


class Connections:
    """The open connections of a server: their application, the time, and how they end."""

    def __init__(self, application: Http) -> None:
        self.application = application
        self.date = b""
        self.open: set[Connection] = set()
        self.draining = False
        self._empty = asyncio.Event()
        self._clock = asyncio.create_task(self._tick())

    def connect(self) -> "Connection":
        """A new one."""
        return Connection(self)

    def left(self, connection: "Connection") -> None:
        """It was closed."""
        self.open.discard(connection)
        if self.draining and not self.open:
            self._empty.set()

    async def drain(self, seconds: float) -> None:
        """Close each connection as soon as what was asked on it is answered, and all of them after ``seconds``."""
        self.draining = True
        for connection in list(self.open):
            connection.finish()
        if self.open:
            try:
                await asyncio.wait_for(self._empty.wait(), seconds)
            except TimeoutError:
                for connection in list(self.open):
                    connection.abort()
        self._clock.cancel()

    async def _tick(self) -> None:
        while True:
            self.date = b"date: %s\r\n" % formatdate(usegmt=True).encode("ascii")
            now = time.monotonic()
            for connection in [connection for connection in self.open if connection.deadline < now]:
                connection.late()
            await asyncio.sleep(1)


class Connection(asyncio.Protocol):
    """One client's; the methods that begin with ``on_`` are the parser's callbacks."""

    def __init__(self, connections: Connections) -> None:
        self._connections, self._application = connections, connections.application
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Request | None = None
        self._whole: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._head_bytes = 0
        self._in_head = self._paused = self._last = self._closing = False
        self.deadline = time.monotonic() + _HEAD_SECONDS
        """When the client must have gone on, on the clock of ``time.monotonic``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport
        self._connections.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Work no longer on what nobody waits for."""
        self._closing = True
        if self._task:
            self._task.cancel()
        self._connections.left(self)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        if self._last or self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself was read; what follows it would be of another protocol, which is not spoken here.
            self._last = True
        except httptools.HttpParserCallbackError as error:
            log_event("a request failed", logging.ERROR, error)
            self._refuse(RequestError(500, "the server failed on this request; its log says how"))
        except httptools.HttpParserError as error:
            self._refuse(RequestError(400, f"this is no HTTP request: {error}"))
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(RequestError(431, f"the headers are larger than {_HEAD_BYTES} bytes"))

    def pause_writing(self) -> None:
        """The client does not read its answers: take no more from it."""
        self._pause()

    def resume_writing(self) -> None:
        """It does again."""
        if not self._whole:
            self._resume()

    def late(self) -> None:
        """The client has not gone on in time."""
        if self._reading and not self._closing:
            self._refuse(RequestError(408, f"the body did not come within {_BODY_SECONDS:.0f} s"))
        else:
            self.abort()

    def finish(self) -> None:
        """Close as soon as nothing is left to answer."""
        if self._task is None and self._reading is None:
            self._close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._transport.abort()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._url, self._headers = b"", dict[bytes, bytes]()
        self._in_head, self._head_bytes = True, 0
        self.deadline = time.monotonic() + _HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        """The request's target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Route the request, and refuse it here if it will be refused anyway."""
        self._in_head = False
        self.deadline = time.monotonic() + _BODY_SECONDS
        try:
            path = (httptools.parse_url(self._url).path or b"/").decode("latin-1")
        except httptools.HttpParserInvalidURLError:
            self._refuse(RequestError(400, "this is no HTTP request: its target is no address"))
            return
        method = self._parser.get_method().decode("ascii")
        request = self._application.begin(method, unquote(path) if "%" in path else path, self._headers)
        self._reading, self._body, self._size = request, list[bytes](), 0
        if request.refused is None and self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body; that of a refused request is not kept."""
        request = self._reading
        if request is None or self._last or self._closing:
            return
        self._size += len(body)
        if self._size > self._application.largest_body or (request.refused and request.refused.status == 413):
            self._refuse(self._application.too_large())
        elif request.refused is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A request has come whole."""
        request = self._reading
        if request is None or self._last or self._closing:
            return
        self._reading = None
        request.started = time.perf_counter()
        request.body = b"".join(self._body)
        self._whole.append((request, self._parser.should_keep_alive()))
        self.deadline = math.inf
        if self._task is None:
            self._next()
        else:
            self._pause()

    def _next(self) -> None:
        """Answer what has come, in its order."""
        while self._whole:
            request, keep = self._whole.popleft()
            if not self._whole:
                self._resume()
            if request.refused:
                self._send(request, self._application.refuse(request.refused), keep)
            else:
                self._task = asyncio.create_task(self._answer(request, keep))
                return
            if self._closing:
                return
        self._task = None
        if self._reading is None and not self._in_head:
            self.deadline = time.monotonic() + _IDLE_SECONDS
            if self._connections.draining:
                self._close()

    async def _answer(self, request: Request, keep: bool) -> None:
        self._send(request, await self._application.answer(request), keep)
        if not self._closing:
            self._next()

    def _refuse(self, refused: RequestError) -> None:
        """Answer what cannot be read to its end, in its turn, and close."""
        if self._last or self._closing:
            return
        self._last = True
        self.deadline = math.inf
        request = self._reading or Request("", "", {}, request_id({}))
        request.refused = refused
        self._whole.append((request, False))
        if self._task is None:
            self._next()

    def _send(self, request: Request, response: Response, keep: bool) -> None:
        keep = keep and not (self._last and not self._whole) and not self._connections.draining
        head = [
            _LINES[response.status],
            b"content-type: %s\r\ncontent-length: %d\r\n" % (response.type, len(response.body)),
            b"x-request-id: %s\r\n" % request.id.encode("ascii"),
            self._connections.date,
            _SECURITY,
            *(b"%s: %s\r\n" % header for header in response.headers),
            b"connection: keep-alive\r\n\r\n" if keep else b"connection: close\r\n\r\n",
        ]
        if request.method != "HEAD":
            head.append(response.body)
        self._transport.write(b"".join(head))
        if not keep:
            self._close()
        self._application.note(request, response.status)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._transport.resume_reading()

    def _close(self) -> None:
        """Close when the client has read its answer, or has had the time to."""
        self._closing = True
        self.deadline = time.monotonic() + _LINGER_SECONDS
        if self._reading and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
