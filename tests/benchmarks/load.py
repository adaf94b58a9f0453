"""Load generator with little CPU overhead: raw HTTP/1.1 on keep-alive connections, on uvloop.

Closed loop: every client sends its next request when it has received the response to the last one.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop

_LONGEST_SECONDS = 60.0
"""Time limit for a slow server to send as many responses as there are clients."""
_PAUSE_SECONDS = 0.05
"""Pause of a client whose request failed or whose connection was lost."""


def post(path: str, body: bytes) -> bytes:
    """Return the bytes of an HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """Client connection with one request at a time.

    Calls ``on_response(self)`` after a response, with ``status`` and ``head`` set, and ``on_lost(self)`` on a loss.
    """

    def __init__(self, on_response: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self._on_response, self._on_lost = on_response, on_lost
        self._received = b""
        self.sent = 0.0
        self.status = 0
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = received[:end].lower()
        start = head.find(b"content-length:")
        if start >= 0:
            if len(received) < end + 4 + int(head[start + 15 :].split(b"\r", 1)[0]):
                return
        elif b"chunked" in head and not received.endswith(b"0\r\n\r\n"):
            return
        self._received, self.head, self.status = b"", head, int(head[9:12])
        self._on_response(self)


@dataclass
class LoadResult:
    """Latencies and errors that the clients result."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Seconds of each response with a 2xx status, sorted."""
    errors: int = 0
    """Number of responses with another status and of lost connections."""

    @property
    def rate(self) -> float:
        """Responses with a 2xx status per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency percentile in seconds; ``share`` is from 0 to 1, infinite if there was no response."""
        return percentile(self.latencies, share)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that the share (0 to 1) of ``ordered`` does not exceed; infinite if it is empty."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


def measure(port: int, requests: Sequence[bytes], clients: int, seconds: float, settle: float = 0.5) -> LoadResult:
    """Send ``requests`` repeatedly from concurrent clients and measure their latencies.

    The first ``settle`` seconds are not counted. The measurement is extended beyond ``seconds`` until there are as many
    responses as clients.
    """
    return uvloop.run(_measure(port, requests, clients, seconds, settle))


async def _measure(port: int, requests: Sequence[bytes], clients: int, seconds: float, settle: float) -> LoadResult:
    loop = asyncio.get_running_loop()
    endless: Iterator[bytes] = itertools.cycle(requests)
    result = LoadResult(seconds)
    counting, running = False, True
    connections: set[Connection] = set()
    reconnecting: set[asyncio.Task[None]] = set()

    def on_response(connection: Connection) -> None:
        if 200 <= connection.status < 300:
            if counting:
                result.latencies.append(time.perf_counter() - connection.sent)
            connection.send(next(endless))
        else:
            result.errors += counting
            loop.call_later(_PAUSE_SECONDS, send, connection)

    def send(connection: Connection) -> None:
        if connection in connections:
            connection.send(next(endless))

    def on_lost(connection: Connection) -> None:
        connections.discard(connection)
        if running:
            result.errors += counting
            task = loop.create_task(connect(_PAUSE_SECONDS))
            reconnecting.add(task)
            task.add_done_callback(reconnecting.discard)

    async def connect(after: float = 0.0) -> None:
        while True:
            await asyncio.sleep(after)
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(on_response, on_lost), "127.0.0.1", port
                )
                break
            except OSError:
                result.errors += counting
                after = _PAUSE_SECONDS
        connections.add(connection)
        connection.send(next(endless))

    for _ in range(clients):
        await connect()
    await asyncio.sleep(settle)
    counting = True
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    while len(result.latencies) < clients and time.perf_counter() - started < _LONGEST_SECONDS:
        await asyncio.sleep(_PAUSE_SECONDS)
    counting, running = False, False
    result.seconds = time.perf_counter() - started
    for task in reconnecting:
        task.cancel()
    for connection in list(connections):
        connection.transport.abort()
    result.latencies.sort()
    return result
