"""A load generator that costs its machine little: raw HTTP/1.1 on keep-alive connections, on uvloop.

Closed loop: every client sends its next request when it has the answer to the last.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import uvloop

_LONGEST_SECONDS = 60.0
"""Until when a slow server is given time for as many answers as there are clients."""
_PAUSE_SECONDS = 0.05
"""Before the next request of a client that was refused or cut off."""


def post(path: str, body: bytes) -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class Connection(asyncio.Protocol):
    """One request at a time; calls ``answered(self)`` with ``status`` and ``head`` set, ``lost(self)`` when cut off."""

    def __init__(self, answered: Callable[["Connection"], None], lost: Callable[["Connection"], None]) -> None:
        self._answered, self._lost = answered, lost
        self._received = b""
        self.sent = 0.0
        self.status = 0
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)

    def send(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = received[:end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            if len(received) < end + 4 + int(head[at + 15 :].split(b"\r", 1)[0]):
                return
        elif b"chunked" in head and not received.endswith(b"0\r\n\r\n"):
            return
        self._received, self.head, self.status = b"", head, int(head[9:12])
        self._answered(self)


@dataclass
class Measured:
    """What clients saw in a span of time."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Seconds of each answer with status 200, sorted."""
    errors: int = 0
    """Answers with another status, and connections lost."""

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the good answers came; infinite without any."""
        return percentile(self.latencies, share)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of ``ordered`` does not exceed; infinite when there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("inf")


def measure(port: int, requests: Sequence[bytes], clients: int, seconds: float, settle: float = 0.5) -> Measured:
    """Let ``clients`` go round ``requests``; what they see in the first ``settle`` seconds does not count.

    It takes longer than ``seconds`` where they have not had an answer each by then.
    """
    return uvloop.run(_measure(port, requests, clients, seconds, settle))


async def _measure(port: int, requests: Sequence[bytes], clients: int, seconds: float, settle: float) -> Measured:
    loop = asyncio.get_running_loop()
    endless: Iterator[bytes] = itertools.cycle(requests)
    measured = Measured(seconds)
    counting, running = False, True
    connections: set[Connection] = set()
    reconnecting: set[asyncio.Task[None]] = set()

    def answered(connection: Connection) -> None:
        if connection.status == 200:
            if counting:
                measured.latencies.append(time.perf_counter() - connection.sent)
            connection.send(next(endless))
        else:
            measured.errors += counting
            loop.call_later(_PAUSE_SECONDS, send, connection)

    def send(connection: Connection) -> None:
        if connection in connections:
            connection.send(next(endless))

    def lost(connection: Connection) -> None:
        connections.discard(connection)
        if running:
            measured.errors += counting
            task = loop.create_task(connect(_PAUSE_SECONDS))
            reconnecting.add(task)
            task.add_done_callback(reconnecting.discard)

    async def connect(after: float = 0.0) -> None:
        while True:
            await asyncio.sleep(after)
            try:
                _, connection = await loop.create_connection(lambda: Connection(answered, lost), "127.0.0.1", port)
                break
            except OSError:
                measured.errors += counting
                after = _PAUSE_SECONDS
        connections.add(connection)
        connection.send(next(endless))

    for _ in range(clients):
        await connect()
    await asyncio.sleep(settle)
    counting = True
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    while len(measured.latencies) < clients and time.perf_counter() - started < _LONGEST_SECONDS:
        await asyncio.sleep(_PAUSE_SECONDS)
    counting, running = False, False
    measured.seconds = time.perf_counter() - started
    for task in reconnecting:
        task.cancel()
    for connection in list(connections):
        connection.transport.abort()
    measured.latencies.sort()
    return measured
