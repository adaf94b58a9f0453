"""The endpoint under five times the load that it can bear, and afterwards.

    python tests/benchmarks/overload.py --headlines clickbait_headlines.jsonl.gz [--seconds 60] [--work DIR]

Finds what 64 clients get out of it, then sends single headlines at five times that rate, at fixed intervals that wait
for no answer, on as many connections as it takes; then at a tenth of it. Prints for each second what was offered in it
became: answers by status, milliseconds from when a request was due to its answer, and the server's resident memory.
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

_TIMES, _AFTERWARDS = 5.0, 0.1
"""Of the capacity: what is offered, and what is offered then."""
_CAPACITY_SECONDS, _AFTERWARDS_SECONDS, _LAST_ANSWER_SECONDS = 5.0, 15, 10.0
_TICK_SECONDS = 0.001
_AT_ONCE = 16
"""Requests sent before answers are looked at again, when it is late."""
_CONNECTIONS = 2_048
"""Opened beforehand; more are opened when all of them wait for an answer."""
_MOST_CONNECTIONS = 20_000
"""A machine has little more than 28,000 ports to connect from; what is due beyond it counts as cut off."""


@dataclass
class Second:
    """Of the requests that were due in it."""

    offered: int = 0
    status: Counter[int] = field(default_factory=Counter)
    """Answers by status; a lost connection is 0."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of those answered with 200."""
    memory: int = 0
    """Resident bytes of the server at its end."""


class Due(Connection):
    """A connection whose request was due at ``due``, whether it could be sent then or not."""

    due = 0.0


@dataclass
class OpenLoop:
    """Sends ``requests`` to ``port`` when they are due, and keeps what becomes of them."""

    port: int
    requests: Sequence[bytes]
    server: psutil.Process
    seconds: list[Second] = field(default_factory=list)
    retry_after: Counter[str] = field(default_factory=Counter)
    refused_last: float = 0.0
    """When the last request was due that was not answered with 200."""
    latest: float = 0.0
    """Seconds that a request was sent too late at most."""

    async def run(self, phases: Sequence[tuple[float, int]]) -> None:
        """``phases`` are rates per second, and for how many seconds."""
        self._idle: deque[Due] = deque()
        self._busy: set[Due] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._endless = cycle(self.requests)
        for _ in range(_CONNECTIONS):
            self._idle.append(await self._connect())
        self._began = time.perf_counter()
        for rate, seconds in phases:
            for _ in range(seconds):
                await self._second(rate)
        end = time.perf_counter() + _LAST_ANSWER_SECONDS
        while (self._busy or self._opening) and time.perf_counter() < end:
            await asyncio.sleep(_TICK_SECONDS)
        for connection in list(self._busy):
            self._lost(connection)

    @property
    def connections(self) -> int:
        """How many it took."""
        return len(self._idle) + len(self._busy)

    async def _second(self, rate: float) -> None:
        starts = self._began + len(self.seconds)
        second = Second(offered=round(rate))
        self.seconds.append(second)
        sent = 0
        while sent < second.offered:
            now = time.perf_counter()
            due_by_now = min(second.offered, int((now - starts) * rate) + 1)
            self.latest = max(self.latest, now - starts - sent / rate)
            for number in range(sent, min(due_by_now, sent + _AT_ONCE)):
                self._send(starts + number / rate)
                sent += 1
            await asyncio.sleep(_TICK_SECONDS if sent == due_by_now else 0)
        await asyncio.sleep(max(0.0, starts + 1 - time.perf_counter()))
        second.memory = self.server.memory_info().rss

    def _send(self, due: float) -> None:
        if self._idle:
            self._send_on(self._idle.pop(), due)
            return
        if len(self._busy) + len(self._opening) >= _MOST_CONNECTIONS:
            self._count(due, 0)
            return
        task = asyncio.create_task(self._send_on_another(due))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _send_on_another(self, due: float) -> None:
        try:
            self._send_on(await self._connect(), due)
        except OSError:
            self._count(due, 0)

    def _send_on(self, connection: Due, due: float) -> None:
        connection.due = due
        self._busy.add(connection)
        connection.send(next(self._endless))

    async def _connect(self) -> Due:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: Due(self._answered, self._lost), "127.0.0.1", self.port))[1]

    def _answered(self, connection: Connection) -> None:
        assert isinstance(connection, Due)
        second = self._count(connection.due, connection.status)
        if connection.status == 200:
            second.latencies.append(time.perf_counter() - connection.due)
        elif (at := connection.head.find(b"retry-after:")) >= 0:
            self.retry_after[connection.head[at + 12 :].split(b"\r", 1)[0].strip().decode()] += 1
        self._busy.discard(connection)
        self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        assert isinstance(connection, Due)
        if connection in self._busy:
            self._busy.discard(connection)
            self._count(connection.due, 0)
        elif connection in self._idle:
            self._idle.remove(connection)

    def _count(self, due: float, status: int) -> Second:
        second = self.seconds[int(due - self._began)]
        second.status[status] += 1
        if status != 200:
            self.refused_last = max(self.refused_last, due - self._began)
        return second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headlines", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=60, help="of overload")
    parser.add_argument("--work", type=Path, help="where the model is made and kept; a temporary folder without it")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is stopped
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
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
                phases = [(_TIMES * capacity, arguments.seconds), (_AFTERWARDS * capacity, _AFTERWARDS_SECONDS)]
                uvloop.run(load.run(phases))
        finally:
            EmbeddedStore(model.workspace).stop()
    report(load, arguments.seconds, capacity)


def report(load: OpenLoop, overloaded: int, capacity: float) -> None:
    print("| second | offered | 200 | 429 | other | p50 ms | p99 ms | resident MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for number, second in enumerate(load.seconds):
        good, refused = second.status[200], second.status[429]
        ordered = sorted(second.latencies)
        print(
            f"| {number} | {second.offered} | {good} | {refused} | {second.status.total() - good - refused} | "
            f"{1e3 * percentile(ordered, 0.5):.0f} | {1e3 * percentile(ordered, 0.99):.0f} | "
            f"{second.memory / 1e6:.0f} |"
        )
    during, after = load.seconds[:overloaded], load.seconds[overloaded:]
    status = sum((second.status for second in during), Counter[int]())
    latencies = sorted(latency for second in during for latency in second.latencies)
    memory = [second.memory / 1e6 for second in during]
    print(
        f"\nunder {_TIMES:.0f} times its capacity: {status[200] / overloaded:,.0f} answers/s "
        f"({status[200] / overloaded / capacity:.0%} of the capacity), by status {dict(status)} (0: cut off)\n"
        f"accepted: p50 {1e3 * percentile(latencies, 0.5):.0f} ms, p99 {1e3 * percentile(latencies, 0.99):.0f} ms, "
        f"longest {1e3 * max(latencies, default=0):.0f} ms\n"
        f"resident: {memory[0]:.0f} MB after a second, {memory[-1]:.0f} MB at the end, {max(memory):.0f} MB at most\n"
        f"Retry-After: {dict(load.retry_after)}"
    )
    whole = next((number for number, second in enumerate(after) if set(second.status) == {200}), None)
    print(
        f"afterwards: {'never again' if whole is None else f'{whole} s'} until a second with only 200; "
        f"the last request not answered with 200 was due {max(0.0, load.refused_last - overloaded):.2f} s in\n"
        f"the generator: {load.connections} connections, at most {1e3 * load.latest:.0f} ms late"
    )


if __name__ == "__main__":
    main()
