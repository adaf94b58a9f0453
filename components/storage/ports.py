"""Free TCP ports for the services of the embedded server."""

import secrets
import socket
import time
from collections.abc import Sequence

_WAIT_SECONDS = 5.0
_POLL_SECONDS = 0.1
_GRPC_OFFSET = 10_000


def find_free_ports(services: Sequence[str]) -> dict[str, int]:
    """Return a free port for each service.

    SeaweedFS also listens on port + 10000 for gRPC, so that port is free too. All are below the usual range of
    ephemeral ports.
    """
    ports: dict[str, int] = {}
    while len(ports) < len(services):
        port = 10_000 + secrets.randbelow(10_000)
        if port not in ports.values() and _all_free({"": port}):
            ports[services[len(ports)]] = port
    return ports


def wait_until_free(ports: dict[str, int]) -> bool:
    """Return whether the ports become free in time; a process that has ended keeps its ports for a moment."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (free := _all_free(ports)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return free


def _all_free(ports: dict[str, int]) -> bool:
    for http_port in ports.values():
        for port in (http_port, http_port + _GRPC_OFFSET):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    return False
    return True
