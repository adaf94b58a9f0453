"""HTTP proxy in front of an S3 store that injects faults, from a seed and at a rate for each kind.

The client's endpoint is the proxy, and the Host header that the client has signed is passed on, so that Signature
Version 4 verifies. Faults hit the bytes after they are signed, as they do on a network.

    with FaultyStore(environment["AWS_ENDPOINT_URL_S3"], seed=7, rates={"flipped_get": 0.1, "503": 0.02}) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        ...
        proxy.once("lost", "PUT", "/channels/")     # the next PUT of a channel
        ...
        assert proxy.injected["lost"] == 1

The fault of the n-th request for one method and address depends on the seed, n and nothing else, so that the order of
concurrent requests does not matter.
"""

import http.client
import random
import socket
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

ERRORS = {"500": "InternalError", "503": "SlowDown"}
KINDS = (
    *ERRORS,
    "slow",  # the answer is late by ``slow_seconds``
    "hang",  # no answer for ``hang_seconds``, then the connection is closed
    "reset",  # the connection is reset before the store sees the request
    "reset_body",  # ... in the middle of the body: of a PUT's request, or of a GET's answer
    "truncated",  # a GET's answer is closed in the middle, without an error of the connection
    "flipped_get",  # one bit of a GET's body is another
    "flipped_put",  # one bit of a PUT's body is another
    "stale",  # a GET answers with an earlier content of the key
    "duplicated",  # a PUT reaches the store twice; the client gets the second answer
    "lost",  # a PUT, POST or DELETE is done, and the connection closed without an answer
)
_METHODS = {
    "truncated": ("GET",),
    "flipped_get": ("GET",),
    "flipped_put": ("PUT",),
    "stale": ("GET",),
    "duplicated": ("PUT",),
    "reset_body": ("GET", "PUT"),
    "lost": ("PUT", "POST", "DELETE"),
}
# Nothing protects a listing, which carries no checksum, against a flipped bit on a connection without TLS.
_OBJECTS_ONLY = ("flipped_get", "flipped_put", "stale")
_REMEMBERED_BYTES = 1 << 20
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}
_STORE_TIMEOUT = 60.0

Headers = list[tuple[str, str]]


class FaultyStore:
    """Proxy of one store; a context manager that listens on a free port of the loopback interface."""

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 0,
        rates: Mapping[str, float] | None = None,
        slow_seconds: float = 0.2,
        hang_seconds: float = 3600,
    ) -> None:
        """Create the proxy.

        Args:
            upstream: Endpoint of the store, such as ``http://127.0.0.1:8333``; may be assigned later.
            seed: Seed of the faults.
            rates: Probability of each kind, 0 to 1, for the requests that it can hit; may be assigned later.
            slow_seconds: Delay of a slow answer.
            hang_seconds: Longest time without an answer; a hanging request also ends with the proxy.
        """
        self.upstream = upstream
        self.rates = dict(rates or {})
        if unknown := self.rates.keys() - set(KINDS):
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(KINDS)}")
        self.slow_seconds, self.hang_seconds = slow_seconds, hang_seconds
        self.injected: Counter[str] = Counter()
        """Number of injected faults by kind."""
        self.requests = 0
        self._seed = seed
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._planned: list[tuple[str, str, str]] = []
        self._contents: defaultdict[str, list[tuple[Headers, bytes]]] = defaultdict(list)
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))

    @property
    def endpoint(self) -> str:
        """Endpoint for the client, such as ``http://127.0.0.1:40123``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def once(self, kind: str, method: str, part: str = "") -> None:
        """Inject one fault into the next request of a method whose address contains ``part``."""
        if kind not in KINDS:
            raise ValueError(f"no such fault: {kind}")
        self._planned.append((kind, method, part))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, address: str) -> tuple[str | None, random.Random]:
        """Return the kind of fault of a new request, if any, and a source of random numbers for it."""
        is_object = urlsplit(address).path.strip("/").count("/") > 0
        with self._lock:
            self.requests += 1
            self._seen[f"{method} {address}"] += 1
            rng = random.Random(f"{self._seed} {method} {address} {self._seen[f'{method} {address}']}")
            for planned in self._planned:
                if planned[1] == method and planned[2] in address:
                    self._planned.remove(planned)
                    return planned[0], rng
        draw = rng.random()
        for kind, rate in self.rates.items():
            if method in _METHODS.get(kind, (method,)) and (is_object or kind not in _OBJECTS_ONLY):
                if draw < rate:
                    return kind, rng
                draw -= rate
        return None, rng

    def remember(self, address: str, headers: Headers, body: bytes) -> None:
        """Keep a content of an object for later stale answers."""
        with self._lock:
            contents = self._contents[address]
            if len(body) <= _REMEMBERED_BYTES and (not contents or contents[-1][1] != body):
                contents.append((headers, body))

    def earlier(self, address: str, body: bytes, rng: random.Random) -> tuple[Headers, bytes] | None:
        """Return an earlier content of an object, or None if only the present one is known."""
        with self._lock:
            others = [content for content in self._contents[address] if content[1] != body]
            return rng.choice(others) if others else None

    def count(self, kind: str) -> None:
        """Count an injected fault."""
        with self._lock:
            self.injected[kind] += 1

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than the proxy runs."""
        self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Ignore clients that went away."""

    def shutdown_request(self, request: Any) -> None:
        """Close a connection without the FIN that would precede a reset."""
        self.close_request(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyStore

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one_request(self) -> None:
        """Answer one request, whatever its method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        kind, rng = self.proxy.fault(self.command, self.path)
        length = int(self.headers["Content-Length"] or 0)
        if kind == "reset_body" and self.command == "PUT":
            self.rfile.read(length // 2)
            self._abort(kind)
            return
        body = self.rfile.read(length)
        if kind in ERRORS:
            self._error(kind)
        elif kind == "reset":
            self._abort(kind)
        elif kind == "hang":
            self.proxy.count(kind)
            self.proxy.wait(self.proxy.hang_seconds)
            self.close_connection = True
        else:
            self._pass_on(kind, rng, body)

    def _pass_on(self, kind: str | None, rng: random.Random, body: bytes) -> None:
        if kind == "flipped_put" and body:
            body = _flip(body, rng)
            self.proxy.count(kind)
        try:
            status, headers, answer = self._ask(body)
            if kind == "duplicated":
                status, headers, answer = self._ask(body)
                self.proxy.count(kind)
        except (OSError, http.client.HTTPException):  # the store was killed
            self._abort(None)
            return
        if kind == "lost":
            self._abort(kind)
            return
        if kind == "slow":
            self.proxy.count(kind)
            self.proxy.wait(self.proxy.slow_seconds)
        if self.command == "PUT" and status == 200:
            etag = [(name, value) for name, value in headers if name.lower() == "etag"]
            kept = ("x-amz-checksum-", "x-amz-meta-")
            sums = [(n, v) for n, v in self.headers.items() if n.lower().startswith(kept)]
            self.proxy.remember(self.path, [*etag, *sums], body)
        if self.command == "GET" and status == 200:
            if kind == "stale" and (earlier := self.proxy.earlier(self.path, answer, rng)):
                headers, answer = earlier
                self.proxy.count(kind)
            else:
                self.proxy.remember(self.path, headers, answer)
        if kind == "flipped_get" and status in (200, 206) and answer:
            answer = _flip(answer, rng)
            self.proxy.count(kind)
        self._answer(status, headers, answer, kind if kind in ("truncated", "reset_body") else None)

    def _ask(self, body: bytes) -> tuple[int, Headers, bytes]:
        address = urlsplit(self.proxy.upstream)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_STORE_TIMEOUT)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: Headers, body: bytes, cut: str | None) -> None:
        """Send an answer, or its first half if it is cut."""
        kept = [(name, value) for name, value in headers if name.lower() not in {*_HOP_BY_HOP, "content-length"}]
        # The answer to HEAD has the length of a body that is not sent.
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        length = lengths[0] if self.command == "HEAD" and lengths else str(len(body))
        self.send_response_only(status)
        for name, value in [*kept, *([("Content-Length", length)] if status not in (204, 304) else [])]:
            self.send_header(name, value)
        self.end_headers()
        if not cut or not body:
            self.wfile.write(body)
        else:
            self.wfile.write(body[: len(body) // 2])
            self._abort(cut, reset=cut == "reset_body")

    def _error(self, kind: str) -> None:
        self.proxy.count(kind)
        text = f"<Error><Code>{ERRORS[kind]}</Code><Message>injected</Message></Error>"
        body = b"" if self.command == "HEAD" else f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
        self._answer(int(kind), [("Content-Type", "application/xml")], body, None)

    def _abort(self, kind: str | None, *, reset: bool = True) -> None:
        """Close the connection, with RST unless the client should see an ordinary end."""
        if kind:
            self.proxy.count(kind)
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True


def _flip(body: bytes, rng: random.Random) -> bytes:
    changed = bytearray(body)
    changed[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return bytes(changed)
