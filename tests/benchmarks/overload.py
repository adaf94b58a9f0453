"""Measure the server under five times its capacity, and its recovery.

    python tests/benchmarks/overload.py --headlines clickbait_headlines.jsonl.gz [--seconds 60] [--work DIR]

Measures the capacity with 64 clients in a closed loop. Then it sends single headlines in an open loop, at fixed
intervals and on as many connections as needed: at five times the capacity, and after that at a tenth of it. Prints for
the requests due in each second: responses by status, latency from the due time in milliseconds, and the server's
resident memory.
"""

import argparse
import asyncio
import json
import resource
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import psutil
import uvloop
from headline_model import prepare
from load import Connection, measure, percentile, post
from running import running
from servers import SERVERS

from textgate.components.storage import EmbeddedStore

_OVERLOAD, _RECOVERY = 5.0, 0.1
"""Offered load as a multiple of the capacity, during the overload and after it."""
_CAPACITY_SECONDS, _RECOVERY_SECONDS, _LAST_RESPONSE_SECONDS = 5.0, 15, 10.0
_TICK_SECONDS = 0.001
_BURST = 16
"""Maximum number of late requests to send before responses are read again."""
_CONNECTIONS = 2_048
"""Connections to open in advance; more are opened when all are busy."""
_MAX_CONNECTIONS = 20_000
"""Limit of connections, because a machine has about 28,000 ephemeral ports; a request beyond it counts as lost."""


@dataclass
class Second:
    """Results of the requests that were due in one second."""

    offered: int = 0
    status: Counter[int] = field(default_factory=Counter)
    """Number of responses by status; 0 is a lost connection."""
    latencies: list[float] = field(default_factory=list)
    """Latencies in seconds of responses with status 200."""
    memory: int = 0
    """Resident bytes of the server at the end of the second."""


class ScheduledConnection(Connection):
    """Connection whose request was scheduled for the time ``due``, even if it was sent later."""

    due = 0.0


@dataclass
class OpenLoop:
    """Load generator that sends ``requests`` to ``port`` at their due times and counts the results."""

    port: int
    requests: Sequence[bytes]
    server: psutil.Process
    seconds: list[Second] = field(default_factory=list)
    retry_after: Counter[str] = field(default_factory=Counter)
    last_failure: float = 0.0
    """Due time, in seconds from the start, of the last request whose response was not 200."""
    max_delay: float = 0.0
    """Maximum delay in seconds between the due time and the sending of a request."""

    async def run(self, phases: Sequence[tuple[float, int]]) -> None:
        """Send requests in phases of (requests per second, seconds)."""
        self._idle: deque[ScheduledConnection] = deque()
        self._busy: set[ScheduledConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._endless = cycle(self.requests)
        for _ in range(_CONNECTIONS):
            self._idle.append(await self._connect())
        self._start = time.perf_counter()
        for rate, seconds in phases:
            for _ in range(seconds):
                await self._second(rate)
        end = time.perf_counter() + _LAST_RESPONSE_SECONDS
        while (self._busy or self._opening) and time.perf_counter() < end:
            await asyncio.sleep(_TICK_SECONDS)
        for connection in list(self._busy):
            self._on_lost(connection)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._idle) + len(self._busy)

    async def _second(self, rate: float) -> None:
        second_start = self._start + len(self.seconds)
        second = Second(offered=round(rate))
        self.seconds.append(second)
        sent = 0
        while sent < second.offered:
            now = time.perf_counter()
            due_by_now = min(second.offered, int((now - second_start) * rate) + 1)
            self.max_delay = max(self.max_delay, now - second_start - sent / rate)
            for index in range(sent, min(due_by_now, sent + _BURST)):
                self._send(second_start + index / rate)
                sent += 1
            await asyncio.sleep(_TICK_SECONDS if sent == due_by_now else 0)
        await asyncio.sleep(max(0.0, second_start + 1 - time.perf_counter()))
        second.memory = self.server.memory_info().rss

    def _send(self, due: float) -> None:
        if self._idle:
            self._send_on(self._idle.pop(), due)
            return
        if len(self._busy) + len(self._opening) >= _MAX_CONNECTIONS:
            self._count(due, 0)
            return
        task = asyncio.create_task(self._send_on_new(due))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _send_on_new(self, due: float) -> None:
        try:
            self._send_on(await self._connect(), due)
        except OSError:
            self._count(due, 0)

    def _send_on(self, connection: ScheduledConnection, due: float) -> None:
        connection.due = due
        self._busy.add(connection)
        connection.send(next(self._endless))

    async def _connect(self) -> ScheduledConnection:
        loop = asyncio.get_running_loop()
        return (
            await loop.create_connection(
                lambda: ScheduledConnection(self._on_response, self._on_lost), "127.0.0.1", self.port
            )
        )[1]

    def _on_response(self, connection: Connection) -> None:
        assert isinstance(connection, ScheduledConnection)
        second = self._count(connection.due, connection.status)
        if connection.status == 200:
            second.latencies.append(time.perf_counter() - connection.due)
        elif (start := connection.head.find(b"retry-after:")) >= 0:
            self.retry_after[connection.head[start + 12 :].split(b"\r", 1)[0].strip().decode()] += 1
        self._busy.discard(connection)
        self._idle.append(connection)

    def _on_lost(self, connection: Connection) -> None:
        assert isinstance(connection, ScheduledConnection)
        if connection in self._busy:
            self._busy.discard(connection)
            self._count(connection.due, 0)
        elif connection in self._idle:
            self._idle.remove(connection)

    def _count(self, due: float, status: int) -> Second:
        second = self.seconds[int(due - self._start)]
        second.status[status] += 1
        if status != 200:
            self.last_failure = max(self.last_failure, due - self._start)
        return second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headlines", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=60, help="duration of the overload")
    parser.add_argument("--work", type=Path, help="folder to train the model in and reuse; temporary by default")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that started processes are stopped
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    textgate = SERVERS[0]
    with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryDirectory() as scratch:
        model = prepare(arguments.work or Path(temporary), arguments.headlines)
        try:
            with running(textgate, model, Path(), Path(scratch)) as started:
                started.wait(model.texts[0])
                requests = [post(textgate.path, json.dumps(textgate.body([text])).encode()) for text in model.texts]
                capacity = measure(started.port, requests, 64, _CAPACITY_SECONDS).rate
                print(f"capacity with 64 clients: {capacity:,.0f} requests/s", flush=True)
                load = OpenLoop(started.port, requests, psutil.Process(started.pid))
                phases = [(_OVERLOAD * capacity, arguments.seconds), (_RECOVERY * capacity, _RECOVERY_SECONDS)]
                uvloop.run(load.run(phases))
        finally:
            EmbeddedStore(model.workspace).stop()
    report(load, arguments.seconds, capacity)


def report(load: OpenLoop, overload_seconds: int, capacity: float) -> None:
    """Print the table of seconds and the summary."""
    print("| second | offered | 200 | 429 | other | p50 ms | p99 ms | resident MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for index, second in enumerate(load.seconds):
        ok, rejected = second.status[200], second.status[429]
        ordered = sorted(second.latencies)
        print(
            f"| {index} | {second.offered} | {ok} | {rejected} | {second.status.total() - ok - rejected} | "
            f"{1e3 * percentile(ordered, 0.5):.0f} | {1e3 * percentile(ordered, 0.99):.0f} | "
            f"{second.memory / 1e6:.0f} |"
        )
    during, after = load.seconds[:overload_seconds], load.seconds[overload_seconds:]
    status = sum((second.status for second in during), Counter[int]())
    latencies = sorted(latency for second in during for latency in second.latencies)
    memory = [second.memory / 1e6 for second in during]
    print(
        f"\nunder {_OVERLOAD:.0f} times its capacity: {status[200] / overload_seconds:,.0f} responses/s "
        f"({status[200] / overload_seconds / capacity:.0%} of the capacity), by status {dict(status)} (0: lost)\n"
        f"accepted: p50 {1e3 * percentile(latencies, 0.5):.0f} ms, p99 {1e3 * percentile(latencies, 0.99):.0f} ms, "
        f"longest {1e3 * max(latencies, default=0):.0f} ms\n"
        f"resident: {memory[0]:.0f} MB after one second, {memory[-1]:.0f} MB at the end, at most {max(memory):.0f} MB\n"
        f"Retry-After: {dict(load.retry_after)}"
    )
    recovered = next((index for index, second in enumerate(after) if set(second.status) == {200}), None)
    print(
        f"recovery: {'none' if recovered is None else f'{recovered} s'} until a second with status 200 only; "
        f"the last failed request was due {max(0.0, load.last_failure - overload_seconds):.2f} s after the overload\n"
        f"load generator: {load.connections} connections, at most {1e3 * load.max_delay:.0f} ms late"
    )


if __name__ == "__main__":
    main()
