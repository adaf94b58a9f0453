"""Liveness of a server, polled from a process of its own while a test does what it does.

An answer may take ``LIMIT_SECONDS`` of a server that gets the CPU whenever it needs it. This machine is shared and has
few cores, so time in which it did not get the CPU is left out. ``poller`` measures that in two ways, and the longer one
counts: how long the kernel kept the server's own threads waiting, and how long a process that does nothing else is kept
waiting, which exchanges a byte with an echo process every millisecond; the latter includes what the hypervisor steals.
However busy the machine is, an answer takes at most ``MAX_SECONDS``.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.server_process import ServerProcess

LIMIT_SECONDS, MAX_SECONDS = 0.1, 1.0
_WAIT_SECONDS = 60.0
_POLLER = Path(__file__).with_name("poller.py")


@dataclass(frozen=True)
class Sample:
    """One answer to ``/v2/health/live``."""

    started: float
    """Time of ``time.monotonic``, the same for all processes."""
    seconds: float
    busy_seconds: float
    """Part of it in which the machine was busy with something else."""
    ok: bool

    @property
    def late_seconds(self) -> float:
        """Seconds that the server itself took."""
        return self.seconds - self.busy_seconds


class Liveness:
    """Samples of a running poller."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._changed = threading.Condition()

    def check(self, started: float) -> None:
        """Check all answers since ``started``, up to one that was requested now."""
        now = time.monotonic()
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: self.samples and self.samples[-1].started >= now, timeout=_WAIT_SECONDS
            )
        assert arrived, f"no answer within {_WAIT_SECONDS} s"
        samples = [sample for sample in self.samples if sample.started + sample.seconds >= started]
        assert all(sample.ok for sample in samples)
        late = [sample for sample in samples if sample.late_seconds > LIMIT_SECONDS or sample.seconds > MAX_SECONDS]
        assert not late, f"{len(late)} of {len(samples)} answers were late: {late[:5]}"

    def summary(self) -> str:
        """Return the figures in a line."""
        seconds = sorted(sample.seconds for sample in self.samples)
        worst = max(self.samples, key=lambda sample: sample.late_seconds)
        return (
            f"liveness: {len(seconds)} answers, median {1e3 * seconds[len(seconds) // 2]:.1f} ms, "
            f"longest {1e3 * seconds[-1]:.0f} ms, longest of the server itself {1e3 * worst.late_seconds:.0f} ms "
            f"(of {1e3 * worst.seconds:.0f} ms)"
        )

    def add(self, line: str) -> None:
        """Add a line of the poller."""
        with self._changed:
            self.samples.append(Sample(**json.loads(line)))
            self._changed.notify_all()


@contextmanager
def poll(server: ServerProcess) -> Iterator[Liveness]:
    """Poll a server in another process."""
    arguments = [sys.executable, str(_POLLER), server.http, str(server.process.pid)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    liveness = Liveness()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            liveness.add(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        liveness.check(time.monotonic())
        yield liveness
    finally:
        process.terminate()
        process.wait()
        reader.join()
