"""Idle connections, closed by what the kernel knows about them.

granian limits the time for the headers of a request, but that time begins with the first byte after the TLS handshake.
Before that, a client could keep a connection for ever, and the number of connections is limited. The kernel knows when
data last came and went on each connection, whoever reads them (Linux, ``TCP_INFO``: tcp(7), linux/tcp.h).
"""

import asyncio
import os
import socket
import stat
import struct
import time
from collections.abc import Mapping
from contextlib import suppress

_FILES = "/proc/self/fd"
# struct tcp_info: tcpi_state at 0, tcpi_last_data_sent at 44, tcpi_last_data_recv at 52.
_TCP_INFO = struct.Struct("=B43xI4xI")
_ESTABLISHED, _CLOSE_WAIT = 1, 8


class IdleConnections:
    """Watch over the connections that a listening socket accepts.

    Args:
        port: Port of the listening socket.
        requests: Number of running requests by the client's port, 0 for a client whose requests have ended. Clients
            with the same port at different addresses count as one.
        seconds: A connection is closed if no data came or went for that time and no request is running, or if no
            request came within that time.
    """

    def __init__(self, port: int, requests: dict[int, int], seconds: float) -> None:
        self._port, self._requests, self._seconds = port, requests, seconds
        self._first_seen: dict[int, float] = {}
        """Time at which each connection was first seen, by the inode of its socket."""

    async def watch(self) -> None:
        """Close idle connections until cancelled; on other systems than Linux, do nothing."""
        while hasattr(socket, "TCP_INFO") and os.path.isdir(_FILES):
            await asyncio.sleep(self._seconds / 5)
            clients = await asyncio.to_thread(self.close)
            for client in [client for client, running in self._requests.items() if not running]:
                if client not in clients:
                    del self._requests[client]

    def close(self) -> set[int]:
        """Close the connections that are idle now.

        Returns:
            Ports of the clients of the others.
        """
        known, self._first_seen = self._first_seen, {}
        clients: set[int] = set()
        for name in os.listdir(_FILES):
            with suppress(OSError):  # closed meanwhile
                self._check(int(name), known, clients)
        return clients

    def _check(self, descriptor: int, known: Mapping[int, float], clients: set[int]) -> None:
        # A duplicate stays the same connection, even if its original is closed and the number used again.
        copy = os.dup(descriptor)
        status = os.fstat(copy)
        if not stat.S_ISSOCK(status.st_mode):
            os.close(copy)
            return
        with socket.socket(fileno=copy) as connection:
            name = connection.getsockname()
            if not isinstance(name, tuple) or name[1] != self._port:
                return
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            state, sent, received = _TCP_INFO.unpack(info)
            if state not in (_ESTABLISHED, _CLOSE_WAIT):
                return
            client = connection.getpeername()[1]
            first_seen = known.get(status.st_ino, time.monotonic())
            running = self._requests.get(client)
            quiet = min(sent, received) > 1e3 * self._seconds
            if (quiet and not running) or (running is None and time.monotonic() - first_seen > self._seconds):
                connection.shutdown(socket.SHUT_RDWR)
            else:
                self._first_seen[status.st_ino] = first_seen
                clients.add(client)
