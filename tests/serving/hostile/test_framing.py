"""Framing of HTTP/1.1: what is no HTTP, or can be read in two ways, has one answer (RFC 9112, request smuggling)."""

import pytest
from serving.hostile.raw_http import CLASSIFY, GOOD, Connection, chunked, exchange, get, post, request, status
from serving.server_process import ServerProcess

LINE = f"POST {CLASSIFY} HTTP/1.1"
HOST = "Host: localhost"
LENGTH = f"Content-Length: {len(GOOD)}"
CHUNKED = "Transfer-Encoding: chunked"
SIZE = b"%x" % len(GOOD)
CHUNK = SIZE + b"\r\n" + GOOD + b"\r\n"
LIVE = "/v2/health/live"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([HOST, LENGTH], 200),
        ([LENGTH], 400),
        ([HOST, HOST, LENGTH], 400),
        ([HOST, "Host: evil.example", LENGTH], 400),
        (["HOST: LOCALHOST", LENGTH], 200),
        ([HOST, LENGTH, LENGTH], 200),  # RFC 9112, 6.3: the same value twice is one
        ([HOST, LENGTH, "Content-Length: 3"], 400),
        ([HOST, f"{LENGTH}, {len(GOOD)}"], 400),
        ([HOST, "Content-Length: -1"], 400),
        ([HOST, f"Content-Length: +{len(GOOD)}"], 400),
        ([HOST, "Content-Length: 0x19"], 400),
        ([HOST, "Content-Length: 1e2"], 400),
        ([HOST, "Content-Length: 1 2"], 400),
        ([HOST, "Content-Length:"], 400),
        ([HOST, "Content-Length: \uff12\uff15"], 400),
        ([HOST, "Content-Length: " + 5_000 * "9"], 400),
        ([HOST, "Content-Length: 18446744073709551616"], 400),
        ([HOST, "Content-Length: 18446744073709551613"], 413),
        ([HOST, "Content-Length : 25"], 400),
        ([HOST, LENGTH, "X-A : b"], 400),
        ([HOST, LENGTH, "X-A: a\r\n continued"], 400),
        ([f" {HOST}", LENGTH], 400),
        ([HOST, LENGTH, "no colon"], 400),
        ([HOST, LENGTH, ": no name"], 400),
        ([HOST, LENGTH, "X-A: a\0b"], 400),
        ([HOST, LENGTH, "X\0: a"], 400),
        ([HOST, LENGTH, "X-A: a\rb"], 400),
        ([HOST, LENGTH, "X-A: \x1b[2J"], 400),
        ([HOST, LENGTH, "X-A: \udcff\udcfe"], 200),
        ([HOST, LENGTH, "X-Request-Id: \udcff\udcfe"], 200),
        ([HOST, LENGTH, "Connection: host, content-length"], 200),
        ([HOST, LENGTH, "Expect: 200-ok"], 200),
    ],
)
def test_head_of_a_request_with_content_length(server: ServerProcess, headers: list[str], expected: int) -> None:
    assert status(server, request([LINE, *headers]) + GOOD) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([CHUNKED], 200),
        (["Transfer-Encoding: Chunked"], 200),
        (["Transfer-Encoding: gzip"], 400),
        (["Transfer-Encoding: identity"], 400),
        (["Transfer-Encoding: xchunked"], 400),
        (["Transfer-Encoding: chunked;q=1"], 400),
        (["Transfer-Encoding: chunked, gzip"], 400),
        (["Transfer-Encoding:"], 400),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: chunked, chunked"], 501),
        (["Transfer-Encoding: gzip", CHUNKED], 501),
        ([CHUNKED, CHUNKED], 501),
    ],
)
def test_transfer_encoding(server: ServerProcess, headers: list[str], expected: int) -> None:
    assert status(server, request([LINE, HOST, *headers]) + CHUNK + b"0\r\n\r\n") == expected


@pytest.mark.parametrize("headers", [[LENGTH, CHUNKED], [CHUNKED, LENGTH], ["Content-Length: 3", CHUNKED]])
def test_with_both_lengths_the_chunks_count_and_the_connection_ends(server: ServerProcess, headers: list[str]) -> None:
    # RFC 9112, 6.1: otherwise a proxy that reads the length and this server disagree about the next request.
    with Connection(server) as connection:
        connection.send(request([LINE, HOST, *headers]) + CHUNK + b"0\r\n\r\n" + get(LIVE))
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.closed()


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (CHUNK + b"0\r\n\r\n", 200),
        (SIZE + b";a=b" + CHUNK[2:] + b"0\r\n\r\n", 200),
        (SIZE + b';a="b\\"c"' + CHUNK[2:] + b"0;d\r\n\r\n", 200),
        (100 * b"0" + CHUNK + b"0\r\n\r\n", 200),
        (b"fffffffffffffffff\r\n" + GOOD, 400),
        (b"10000000000000019\r\n" + GOOD, 400),
        (b"-1\r\n" + GOOD, 400),
        (b"0x19\r\n" + GOOD, 400),
        (b"zz\r\n" + GOOD, 400),
        (b"\r\n" + GOOD, 400),
        (SIZE + b"\n" + GOOD + b"\n0\n\n", 400),
        (SIZE + b";a\nb\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
        (SIZE + b"\r\n" + GOOD + b"xx0\r\n\r\n", 400),
        (SIZE + b";" + 20_000_000 * b"a" + CHUNK[2:], 400),
        (CHUNK + b"0\r\nX-A: b\r\n\r\n", 400),
        (CHUNK + b"0\r\nContent-Length: 3\r\n\r\n", 400),
        (CHUNK + b"0\r\n" + 1_000_000 * b"X: y\r\n" + b"\r\n", 400),
        (CHUNK + b"0\r\nX:" + 20_000_000 * b"y", 400),
        (b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n", 200),
        (10_000 * b"1\r\n \r\n" + CHUNK + b"0\r\n\r\n", 413),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else str(value),
)
def test_chunks(server: ServerProcess, chunks: bytes, expected: int) -> None:
    answer = exchange(server, request([LINE, HOST, CHUNKED]) + chunks)
    assert answer
    assert (answer.status, answer.headers["connection"]) == (expected, "close" if expected > 200 else None)


@pytest.mark.parametrize("sent", [CHUNK, CHUNK[:9], SIZE, b""])
def test_chunked_body_that_is_cut_off(server: ServerProcess, sent: bytes) -> None:
    assert status(server, request([LINE, HOST, CHUNKED]) + sent, end=True) == 400


def test_body_that_is_cut_off(server: ServerProcess) -> None:
    answer = exchange(server, post(GOOD, length=len(GOOD) + 1), end=True)
    assert answer
    assert (answer.status, answer.error) == (400, "the body ended before its announced length")


@pytest.mark.parametrize(
    "upgrade",
    [
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"),
        (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAA==",
        ),
        ("Connection: Upgrade", "Upgrade: TLS/1.0"),
    ],
    ids=lambda headers: headers[1],
)
def test_an_upgrade_is_ignored_and_the_body_is_read(server: ServerProcess, upgrade: tuple[str, ...]) -> None:
    with Connection(server) as connection:
        for _ in range(2):
            answer = connection.send(post(GOOD, *upgrade)).answer()
            assert answer.status == 200
            assert b'"predictions"' in answer.body
            assert "upgrade" not in answer.headers


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    ids = [f"pipelined-{index}" for index in range(100)]
    # Some are rejected, some are answered by the event loop at once, and some by the model.
    requests = [
        (post(GOOD, f"X-Request-Id: {name}") if index % 2 else get("/v1/models", f"X-Request-Id: {name}"))
        if index % 5
        else post(b"{", f"X-Request-Id: {name}", "Content-Type: text/plain")
        for index, name in enumerate(ids)
    ]
    with Connection(server) as connection:
        connection.send(b"".join(requests))
        answers = [connection.answer() for _ in ids]
    assert [answer.headers["x-request-id"] for answer in answers] == ids
    assert [answer.status for answer in answers] == [200 if index % 5 else 415 for index in range(100)]


def test_expect_100_continue(server: ServerProcess) -> None:
    with Connection(server) as connection:
        for _ in range(2):
            connection.send(post(b"", "Expect: 100-continue", length=len(GOOD)))
            assert connection.interim() == 100
            assert connection.send(GOOD).answer().status == 200


@pytest.mark.parametrize(
    ("headers", "length", "expected"),
    [
        ((), 9 * 2**20, 413),
        (("Content-Type: text/plain",), 9, 415),
        (("Origin: http://evil.example",), 9, 403),
    ],
)
def test_a_body_that_would_be_rejected_is_not_expected(
    server: ServerProcess, headers: tuple[str, ...], length: int, expected: int
) -> None:
    with Connection(server) as connection:
        answer = connection.send(post(b"", "Expect: 100-continue", *headers, length=length)).answer()
        assert (answer.status, answer.headers["connection"]) == (expected, "close")
        assert connection.closed()


def test_the_body_of_a_request_that_takes_none_is_not_the_next_request(server: ServerProcess) -> None:
    with Connection(server) as connection:
        for method, path, expected in (("GET", LIVE, 200), ("DELETE", "/v1/models", 405), ("POST", "/nowhere", 404)):
            smuggled = get("/v1/models")
            head = request([f"{method} {path} HTTP/1.1", HOST, f"Content-Length: {len(smuggled)}"])
            answer = connection.send(head + smuggled).answer(method)
            assert (answer.status, b"champion" in answer.body) == (expected, False)
        answer = connection.send(chunked(GOOD)).answer()
        assert (answer.status, b"predictions" in answer.body) == (200, True)


def test_a_client_may_close_its_half_after_the_request(server: ServerProcess) -> None:
    # hyper takes it for a client that is gone: it is answered or closed, never left waiting.
    assert status(server, post(GOOD), end=True) in (200, None)
