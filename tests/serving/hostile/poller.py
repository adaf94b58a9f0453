"""Poller of ``liveness``: a script that writes one JSON line for each answer of the server that its argument names."""

import json
import os
import selectors
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.01
TURN_SECONDS = 0.001
REQUEST = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def poll(url: str) -> None:
    """Write a line for each answer."""
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
            "busy_seconds": busy,
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
    poll(sys.argv[1])
