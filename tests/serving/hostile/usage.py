"""CPU time and peak memory of a server's process, from /proc."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.server_process import ServerProcess

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """What a process used in a span of time."""

    peak_bytes: int = 0
    """Most resident memory above that at the start."""
    left_bytes: int = 0
    """Resident memory at the end above that at the start."""
    cpu_seconds: float = 0.0
    """CPU time of all threads."""

    def __str__(self) -> str:
        return (
            f"peak {self.peak_bytes / 2**20:.1f} MiB, left {self.left_bytes / 2**20:.1f} MiB, {self.cpu_seconds:.2f} s"
        )


@contextmanager
def usage(server: ServerProcess) -> Iterator[Usage]:
    """Measure a server; the result is complete at the end of the context."""
    used = Usage()
    (_proc(server) / "clear_refs").write_text("5")  # the peak becomes the present size (proc(5))
    start, cpu = _memory(server, "VmRSS"), _cpu_seconds(server)
    yield used
    used.cpu_seconds = _cpu_seconds(server) - cpu
    used.peak_bytes = _memory(server, "VmHWM") - start
    used.left_bytes = _memory(server, "VmRSS") - start


def _memory(server: ServerProcess, field: str) -> int:
    for line in (_proc(server) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise AssertionError(f"no {field}")


def _cpu_seconds(server: ServerProcess) -> float:
    fields = (_proc(server) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime


def _proc(server: ServerProcess) -> Path:
    return Path(f"/proc/{server.process.pid}")
