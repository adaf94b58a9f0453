"""Poller of ``liveness``: a script that writes one JSON line for each answer of a server.

Its arguments are the server's URL and the id of its process.
"""

import json
import os
import selectors
import socket
import ssl
import sys
import time
from contextlib import suppress
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.01
TURN_SECONDS = 0.001
REQUEST = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


class RunDelay:
    """Time for which threads of a process were ready to run but had no CPU (Linux, ``schedstats``).

    An answer needs two threads: the main one, and one that reads and writes, or has the interpreter's lock.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._files: dict[int, int] = {}
        self._refreshed = 0.0

    def seconds(self) -> dict[int, float]:
        """Return the time of each thread so far."""
        if time.monotonic() > self._refreshed + 1:
            self._refresh()
        delays = {}
        for thread, file in self._files.items():
            with suppress(OSError):
                delays[thread] = int(os.pread(file, 200, 0).split()[1]) / 1e9
        return delays

    def since(self, before: dict[int, float]) -> float:
        """Return the time of the main thread, and of the other one that was kept waiting longest."""
        spans = {thread: now - before[thread] for thread, now in self.seconds().items() if thread in before}
        main = spans.pop(self._pid, 0.0)
        return main + max(spans.values(), default=0.0)

    def _refresh(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}
        for thread in map(int, os.listdir(f"/proc/{self._pid}/task")):
            with suppress(OSError):
                self._files[thread] = os.open(f"/proc/{self._pid}/task/{thread}/schedstat", os.O_RDONLY)
        self._refreshed = time.monotonic()


def poll(url: str, pid: int) -> None:
    """Write a line for each answer."""
    run_delay = RunDelay(pid)
    echo, remote = socket.socketpair()
    if not os.fork():
        echo.close()
        while byte := remote.recv(1):
            remote.send(byte)
        os._exit(0)
    remote.close()
    connection = connect(url)
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    while True:
        delays = run_delay.seconds()
        started = turn = time.monotonic()
        busy, received = 0.0, b""
        connection.sendall(REQUEST)
        while b"}" not in received:
            if selector.select(TURN_SECONDS):
                received += connection.recv(65_536)
                if not received:
                    break
            else:
                echo.send(b"a")
                echo.recv(1)
            now = time.monotonic()
            busy += max(0.0, now - turn - TURN_SECONDS)
            turn = now
        sample = {
            "started": started,
            "seconds": time.monotonic() - started,
            "busy_seconds": max(busy, run_delay.since(delays)),
            "ok": received.startswith(b"HTTP/1.1 200 "),
        }
        print(json.dumps(sample), flush=True)
        time.sleep(PAUSE_SECONDS)


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((str(parts.hostname), parts.port or 0))
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(connection)
    return connection


if __name__ == "__main__":
    poll(sys.argv[1], int(sys.argv[2]))
