"""Proxy of the Docker engine's socket: a test acts at an exact point of a step, or takes the engine away."""

import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
_REQUEST = re.compile(rb"\w+ \S*/containers/(?:[\w-]+/)?(create|start|logs)[? ]")


class EngineProxy:
    """Socket that passes all requests to the engine, and calls a function once before one of them."""

    def __init__(self, path: Path, request: str, act: Callable[[], None], number: int = 1) -> None:
        """Listen on a socket.

        Args:
            path: Path of the socket.
            request: Request about a container that is waited for: create, start or logs (of the running step).
            act: Function to call before the request reaches the engine.
            number: Which of these requests, from 1.
        """
        self.host = f"unix://{path}"
        """Value of DOCKER_HOST."""
        self.requests_left = number
        """Number of the requests until the function is called."""
        self._request, self._act = request.encode(), act
        self._open: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "EngineProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Close the socket and all connections, as an engine that dies."""
        for each in (self._server, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(ENGINE)
                self._open += [client, engine]
                for source, target in ((client, engine), (engine, client)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                found = _REQUEST.match(piece)
                if found and found[1] == self._request:
                    self.requests_left -= 1
                    if self.requests_left == 0:
                        self._act()
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
