"""Connections that are closed because nothing happens on them."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from textgate.serving.idle_connections import IdleConnections

SECONDS = 0.2


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def connect(listening: socket.socket) -> tuple[socket.socket, socket.socket, int]:
    """Return the two ends of a connection, and the client's port."""
    client = socket.create_connection(listening.getsockname(), timeout=10)
    return client, listening.accept()[0], client.getsockname()[1]


def is_open(client: socket.socket) -> bool:
    """Return whether a connection is open; nothing was sent that is not read."""
    client.setblocking(False)
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        client.settimeout(10)


def test_idle_connections_are_closed_and_no_others(listening: socket.socket) -> None:
    unused, answered, running, lively, dribbling, other = (connect(listening) for _ in range(6))
    requests = {answered[2]: 0, running[2]: 1, lively[2]: 0}
    connections = IdleConnections(listening.getsockname()[1], requests, SECONDS)
    elsewhere = IdleConnections(1, requests, 0)
    idle = (unused, answered, dribbling)
    other[0].close()
    while any(is_open(client) for client, _, _ in idle):
        for sender, receiver in ((lively[0], lively[1]), (lively[1], lively[0]), (dribbling[0], dribbling[1])):
            with suppress(OSError):  # one of them will be closed
                sender.send(b"a")
                receiver.recv(1)
        elsewhere.close()  # of another port
        clients = connections.close()
    # A request is running, or data came; the one that sends data, but never a request, is closed in the end.
    assert clients == {running[2], lively[2]}
    assert is_open(running[0])
    assert is_open(lively[0])
    requests[running[2]] = 0
    connections.close()
    assert not is_open(running[0])
    for client, server, _ in (unused, answered, running, lively, dribbling, other):
        client.close()
        server.close()


def test_no_descriptor_is_left_open(listening: socket.socket) -> None:
    client, server, _ = connect(listening)
    connections = IdleConnections(listening.getsockname()[1], {}, 60)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        assert connections.close() == {client.getsockname()[1]}
    assert os.listdir("/proc/self/fd") == before
    client.close()
    server.close()
