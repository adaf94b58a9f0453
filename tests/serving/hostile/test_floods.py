"""Many connections, and clients that do not read, do not end, or leave: what they cost, and what others get."""

import re
import time
from contextlib import ExitStack

import pytest
from serving.hostile.raw_http import CLASSIFY, GOOD, Answer, Connection, chunked, exchange, get, post, request, status
from serving.hostile.usage import usage
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow  # what they measure takes the machine for seconds

MIB = 2**20
CONNECTION_BYTES = 40_000
"""Memory for a connection on which nothing, or a part of a head, has arrived."""
HANDSHAKE_BYTES = 60_000
"""Memory for a connection whose TLS handshake has begun."""


def count(server: ServerProcess, route: str, expected: int) -> int:
    """Return how many requests of a route had a status."""
    page = exchange(server, get("/metrics"), method="GET")
    assert page
    pattern = rf'^textgate_requests_total{{.*route="{re.escape(route)}",status="{expected}".*}} (\S+)$'
    return sum(int(float(value)) for value in re.findall(pattern, page.body.decode("utf-8"), re.MULTILINE))


def wait_for_count(server: ServerProcess, route: str, expected: int, at_least: int) -> None:
    """Wait until that many requests of a route had a status."""
    deadline = time.monotonic() + 30
    while (counted := count(server, route, expected)) < at_least:
        assert time.monotonic() < deadline, f"{counted} of {at_least}"


@pytest.mark.parametrize(
    ("sent", "connections"),
    [
        (b"", 2_000),
        (b"PO", 2_000),
        (post(GOOD)[:60], 2_000),
        # Those of whose requests the application knows end all at once: 80 µs of the event loop each.
        (post(b"", length=8 * MIB), 500),
        (request([f"POST {CLASSIFY} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"]), 500),
        (post(b"", "Content-Encoding: gzip", length=100), 500),
    ],
    ids=["nothing", "a method", "half a head", "a length", "no chunk", "no gzip"],
)
def test_idle_connections(server: ServerProcess, sent: bytes, connections: int) -> None:
    with ExitStack() as stack:
        with usage(server) as used:
            for _ in range(connections):
                stack.enter_context(Connection(server)).send(sent)
            for request_ in (post(GOOD), chunked(GOOD), get("/v1/models")):
                assert status(server, request_) == 200
        assert used.peak_bytes <= connections * CONNECTION_BYTES, used


def test_stalled_tls_handshakes(secured_server: ServerProcess) -> None:
    hello = bytes.fromhex("16030100c8010000c40303") + 50 * b"a"  # the first part of a ClientHello
    with ExitStack() as stack:
        with usage(secured_server) as used:
            for index in range(4_000):
                stack.enter_context(Connection(secured_server, tls=False)).send(hello if index % 2 else b"")
                if index % 500 == 0:  # not faster than the server accepts them
                    assert status(secured_server, get("/v2/health/live"), method="GET") == 200
            assert status(secured_server, get("/v2/health/live"), method="GET") == 200
        assert used.peak_bytes <= 4_000 * HANDSHAKE_BYTES, used


@pytest.mark.parametrize(
    "sent",
    [
        get("/v2/health/live"),
        bytes(1_000),
        bytes.fromhex("1603010200010001fc0303") + bytes(600),
        b"\x15\x03\x03\0\x02\x02\x28",
    ],
    ids=["HTTP", "zeros", "a malformed ClientHello", "an alert"],
)
def test_what_is_no_tls_on_a_tls_port(secured_server: ServerProcess, sent: bytes) -> None:
    with Connection(secured_server, tls=False) as connection:
        connection.send(sent).end()
        while received := connection.read_some():
            assert received[:1] == b"\x15"  # an alert, never an answer in the clear


def test_requests_that_are_aborted_within_their_body(server: ServerProcess) -> None:
    before = count(server, "/v1/models/{model}:classify", 400)
    halves = [
        post(GOOD, length=len(GOOD) + 1),
        post(100_000 * b" ", length=MIB),
        request([f"POST {CLASSIFY} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"]) + b"19\r\n{",
        post(b"\x1f\x8b\x08", "Content-Encoding: gzip", length=100),
    ]
    with usage(server) as used:
        for index in range(1_000):
            with Connection(server) as connection:
                connection.send(halves[index % len(halves)])
        wait_for_count(server, "/v1/models/{model}:classify", 400, before + 1_000)
    assert used.left_bytes <= 32 * MIB, used
    assert used.cpu_seconds <= 3, used


def test_clients_that_leave_before_their_answer(server: ServerProcess) -> None:
    before = count(server, "/v1/models/{model}:classify", 499)
    long_request = post(b'{"texts":["' + b'","'.join(1_000 * [2_000 * b"a "]) + b'"]}')
    for _ in range(2):
        with Connection(server) as connection:
            connection.send(long_request)
            # It is in the queue when its texts are.
            while b"textgate_queue_texts 0.0" in metrics(server).body:
                pass
    wait_for_count(server, "/v1/models/{model}:classify", 499, before + 1)
    # The second one may still be in the queue, which has no place for more.
    while b"textgate_queue_texts 0.0" not in metrics(server).body:
        pass
    assert status(server, post(GOOD)) == 200


def metrics(server: ServerProcess) -> Answer:
    """Return the metrics."""
    answer = exchange(server, get("/metrics"), method="GET")
    assert answer
    return answer


@pytest.mark.parametrize("path", ["/page.js", "/openapi.json", "/v2/health/live"])
def test_a_client_that_pipelines_and_does_not_read(server: ServerProcess, path: str) -> None:
    requests = 1_000 * get(path)
    with Connection(server) as connection, usage(server) as used:
        connection.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += connection.socket.send(requests)
        except TimeoutError:
            pass
    assert sent < 32 * MIB  # the server stops to read
    assert used.peak_bytes <= 8 * MIB, used


@pytest.mark.parametrize("size", [9 * MIB, 60 * MIB])
@pytest.mark.parametrize("kind", ["length", "chunks", "gzip"])
def test_a_client_that_still_sends_reads_the_error(server: ServerProcess, kind: str, size: int) -> None:
    body = bytes(size)
    match kind:
        case "length":
            data = post(body)
        case "chunks":
            data = chunked(*[body[start : start + 65_536] for start in range(0, size, 65_536)])
        case _:
            data = post(body, "Content-Encoding: gzip")
    with usage(server) as used, Connection(server) as connection:
        connection.socket.sendall(data)  # all of it, before it reads; no connection reset
        answer = connection.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert "larger than the limit of 8388608 bytes" in answer.error
    assert used.peak_bytes <= 12 * MIB, used


@pytest.mark.slow
def test_a_body_without_end_is_not_read_for_ever(server: ServerProcess) -> None:
    with usage(server) as used, Connection(server) as connection:
        connection.send(request([f"POST {CLASSIFY} HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"]))
        started, sent = time.monotonic(), 0
        try:
            while True:
                connection.socket.sendall(b"100000\r\n" + bytes(MIB) + b"\r\n")
                sent += MIB
        except OSError:
            pass
    assert sent <= 256 * MIB
    assert time.monotonic() - started < 20
    assert used.peak_bytes <= 12 * MIB, used


@pytest.mark.slow
def test_bodies_that_are_held_are_limited_together(server: ServerProcess) -> None:
    large = post(8 * MIB * b" ")[:-1]
    before = count(server, "/v1/models/{model}:classify", 429)
    with ExitStack() as stack, usage(server) as used:
        for _ in range(36):
            stack.enter_context(Connection(server)).send(large)
        wait_for_count(server, "/v1/models/{model}:classify", 429, before + 4)
        assert status(server, get("/v1/models"), method="GET") == 200
    assert used.peak_bytes <= 33 * 8 * MIB + 64 * MIB, used
    assert status(server, post(GOOD)) == 200


@pytest.mark.slow
def test_more_connections_than_are_served_wait(server: ServerProcess) -> None:
    with ExitStack() as stack, usage(server) as used:
        for _ in range(8_500):
            stack.enter_context(Connection(server))
    assert used.peak_bytes <= 8_500 * CONNECTION_BYTES, used
    assert status(server, post(GOOD)) == 200


@pytest.mark.slow
def test_slow_clients_are_cut_off(server: ServerProcess, secured_server: ServerProcess) -> None:
    with ExitStack() as stack:
        opened = time.monotonic()
        body, head, idle, after = (stack.enter_context(Connection(server)) for _ in range(4))
        handshake = stack.enter_context(Connection(secured_server, tls=False))
        body.send(post(b"{", length=100))
        head.send(b"GET / HTTP/1.1\r\n")
        handshake.send(bytes.fromhex("16030100c8010000c40303"))
        assert after.send(post(GOOD)).answer().status == 200
        assert body.answer().status == 408
        assert 29 < time.monotonic() - opened < 35
        for connection in (head, idle, after, handshake):
            connection.socket.settimeout(120)
            while connection.read_some():
                pass
            assert time.monotonic() - opened < 90
