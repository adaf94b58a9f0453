"""Client that sends any bytes over HTTP/1.1, plain or by TLS, and reads the answers with ``http.client``."""

import json
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import Any, Self, cast
from urllib.parse import urlsplit

from serving.server_process import ServerProcess

SECONDS = 60.0
"""Time after which a read fails the test."""
CLASSIFY = "/v1/models/small:classify"
GOOD = b'{"texts": ["word1 good"]}'


@dataclass(frozen=True)
class Answer:
    """Answer to a request."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def error(self) -> str:
        """The error that the body states."""
        return str(json.loads(self.body)["error"])


class Connection:
    """Connection to a server; it is reset at the end, so that no unread answer keeps it open."""

    def __init__(self, server: ServerProcess, *, tls: bool | None = None, alpn: list[str] | None = None) -> None:
        url = urlsplit(server.http)
        self.address = (cast(str, url.hostname), cast(int, url.port))
        self.socket = socket.create_connection(self.address, timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if url.scheme == "https" if tls is None else tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if alpn:
                context.set_alpn_protocols(alpn)
            self.socket = context.wrap_socket(self.socket)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()
        self.socket.close()

    def makefile(self, mode: str) -> Any:
        """Return the one reader of this connection, as ``HTTPResponse`` asks for it."""
        return _Unclosed(self._reader)

    def send(self, data: bytes) -> Self:
        """Send bytes; a server that has closed already is no error."""
        with suppress(OSError):
            self.socket.sendall(data)
        return self

    def end(self) -> Self:
        """Announce that nothing more is sent."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        return self

    def interim(self) -> int:
        """Read an interim response; return its status."""
        line, end = self._reader.readline(), self._reader.readline()
        assert end == b"\r\n"
        return int(line.split()[1])

    def answer(self, method: str = "POST") -> Answer:
        """Read the next answer.

        Raises:
            http.client.HTTPException, OSError: If there is none, or it is no complete HTTP response.
        """
        response = HTTPResponse(cast(socket.socket, self), method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read())

    def read_some(self) -> bytes:
        """Return the next bytes; none if the server has closed or reset the connection."""
        try:
            return self.socket.recv(65_536)
        except ConnectionError:
            return b""

    def closed(self) -> bool:
        """Wait for the server to close; return whether it did so without another byte."""
        try:
            return not self._reader.read(1)
        except ConnectionError:
            return True


class _Unclosed:
    """Reader whose owner closes it; ``HTTPResponse`` closes its own after every response."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def close(self) -> None:
        pass

    def flush(self) -> None:
        pass


def post(body: bytes, *headers: str, path: str = CLASSIFY, length: int | str | None = None) -> bytes:
    """Return the bytes of a POST request; ``length`` replaces the true Content-Length."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body) if length is None else length}"]
    return request(lines, *headers) + body


def chunked(*chunks: bytes, headers: tuple[str, ...] = (), path: str = CLASSIFY) -> bytes:
    """Return the bytes of a POST request with a chunked body, complete."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"]
    return request(lines, *headers) + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def get(path: str, *headers: str, host: str = "localhost") -> bytes:
    """Return the bytes of a GET request."""
    return request([f"GET {path} HTTP/1.1", f"Host: {host}"], *headers)


def request(lines: list[str], *headers: str) -> bytes:
    """Return a request head."""
    return "\r\n".join([*lines, *headers, "", ""]).encode("utf-8", "surrogateescape")


def exchange(server: ServerProcess, data: bytes, *, method: str = "POST", end: bool = False) -> Answer | None:
    """Send bytes on a new connection; return the answer, None if the server closes without one."""
    with Connection(server) as connection:
        connection.send(data)
        if end:
            connection.end()
        try:
            return connection.answer(method)
        except (HTTPException, ConnectionError):
            return None


def status(server: ServerProcess, data: bytes, *, method: str = "POST", end: bool = False) -> int | None:
    """Send bytes on a new connection; return the status of the answer, None if the server closes without one."""
    answer = exchange(server, data, method=method, end=end)
    return answer.status if answer else None
