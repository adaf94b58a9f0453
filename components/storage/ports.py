"""TCP ports of the embedded server, and the Unix sockets that SeaweedFS names after them."""

import contextlib
import os
import random
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from textgate.components.contracts import StoreError

_PORTS = range(10_000, 20_000)
"""With their gRPC ports, below the usual range of ephemeral ports."""
_GRPC_OFFSET = 10_000
_WAIT_SECONDS = 1.0
_POLL_SECONDS = 0.05


def find_free_ports(services: Sequence[str]) -> dict[str, int]:
    """Return a free port for each service. SeaweedFS also listens on port + 10000 for gRPC, so that port is free too.

    Raises:
        StoreError: Too few ports are free.
    """
    ports: dict[str, int] = {}
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(ports) == len(services):
            break
        service = services[len(ports)]
        if _is_free(service, port):
            ports[service] = port
    if len(ports) < len(services):
        raise StoreError(
            f"the embedded store needs {len(services)} free ports from {_PORTS.start} to {_PORTS.stop - 1} whose "
            f"gRPC ports, {_GRPC_OFFSET} higher, are free too, and found {len(ports)}: end the programs that use them"
        )
    return ports


def wait_until_free(ports: Mapping[str, int]) -> bool:
    """Return whether the ports become free in time; a process that has ended keeps its ports for a moment."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (free := all(_is_free(*item) for item in ports.items())) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return free


def remove_sockets(ports: Mapping[str, int]) -> None:
    """Delete the Unix sockets that a killed server has left."""
    for item in ports.items():
        with contextlib.suppress(OSError):
            _grpc_socket(*item).unlink()


def _is_free(service: str, port: int) -> bool:
    for number in (port, port + _GRPC_OFFSET):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                return False
    # The server connects to itself through a socket in /tmp, where another user may have put one of that name.
    try:
        return _grpc_socket(service, port).lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return True


def _grpc_socket(service: str, port: int) -> Path:
    return Path(f"/tmp/seaweedfs-{service}-grpc-{port + _GRPC_OFFSET}.sock")  # noqa: S108 - the name is SeaweedFS'
