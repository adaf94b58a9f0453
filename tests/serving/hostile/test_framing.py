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
    ("target", "expected"),
    [
        (LIVE, 200),
        (f"{LIVE}?a=b", 200),
        ("http://localhost/v1/models", 200),
        ("http://user:password@localhost:1/v1/models", 200),
        ("http://evil.example/v1/models", 403),  # the authority counts, not the Host header (RFC 9112, 3.2.2)
        (f"{LIVE}/", 404),
        (f"/{LIVE}", 404),
        ("/v1/../v1/models", 404),
        ("/v1/%2e%2e/v1/models", 404),
        ("/V1/models", 404),
        (f"{LIVE}%00", 404),
        ("/%", 404),
        ("/%zz", 404),
        ("/%ff", 404),
        ("/\u00e9", 404),
        ("*", 404),
        ("localhost:80", 404),
        (f"{LIVE}\0", 400),
        (f"{LIVE}\r", 400),
        ("/ a", 400),
        ("", 400),
        ("v2/health/live", 400),
        ("/" + 60_000 * "a", 404),
        ("/" + 70_000 * "a", 431),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_request_target(server: ServerProcess, target: str, expected: int) -> None:
    answer = exchange(server, get(target), method="GET")
    assert answer
    assert answer.status == expected
    assert len(answer.body) < 2_000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("OPTIONS * HTTP/1.1", 204),
        ("OPTIONS /v1/models HTTP/1.1", 204),
        ("CONNECT localhost:443 HTTP/1.1", 404),
        ("CONNECT /v1/models HTTP/1.1", 405),
        ("TRACE /v1/models HTTP/1.1", 405),
        ("BREW /v1/models HTTP/1.1", 405),
        ("get /v1/models HTTP/1.1", 405),
        ("PRI /v1/models HTTP/1.1", 405),
        ("G" * 200 + " /v1/models HTTP/1.1", 405),
        ("G" * 70_000 + " /v1/models HTTP/1.1", 431),
        ("GE T /v1/models HTTP/1.1", 400),
        ("G@T /v1/models HTTP/1.1", 400),
        (" /v1/models HTTP/1.1", 400),
        ("GET /v1/models HTTP/2.0", 400),
        ("GET /v1/models HTTP/1.2", 400),
        ("GET /v1/models HTTP/1.10", 400),
        ("GET /v1/models http/1.1", 400),
        ("GET /v1/models HTTP/0.9", 400),
        ("GET /v1/models", 400),
        ("PRI * HTTP/2.0", 400),  # without the rest of HTTP/2's preface
    ],
    ids=lambda value: str(value)[:40],
)
def test_request_line(server: ServerProcess, line: str, expected: int) -> None:
    assert status(server, request([line, HOST]), method=line.partition(" ")[0]) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (1_000 * b"\r\n" + get(LIVE), 200),
        (bytes(range(256)) * 100, 400),
        (b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03" + bytes(300), 400),  # a TLS handshake
        (b"GET /v2/health/live\r\n", 400),  # HTTP/0.9
        (get(LIVE).replace(b"\r\n", b"\r"), None),
        (90_000 * b"x", 431),
        (b"", None),
        (b"\r\n", None),
        (get(LIVE)[:-2], None),
        (get(LIVE)[:5], None),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else str(value),
)
def test_bytes_that_are_no_request(server: ServerProcess, data: bytes, expected: int | None) -> None:
    assert status(server, data, method="GET", end=expected is None) == expected


def test_lines_may_end_in_bare_line_feeds(server: ServerProcess) -> None:
    assert status(server, post(GOOD).replace(b"\r\n", b"\n")) == 200  # RFC 9112, 2.2


@pytest.mark.parametrize(
    ("headers", "data", "expected"),
    [
        ([HOST, LENGTH], GOOD, 200),
        ([LENGTH], GOOD, 403),  # without Host, what the page of another site could also send
        ([HOST, CHUNKED], CHUNK + b"0\r\n\r\n", 400),  # HTTP/1.0 has no chunks
        ([HOST, "Host: evil.example", LENGTH], GOOD, 403),
        ([HOST], GOOD, 400),
    ],
)
def test_http_1_0(server: ServerProcess, headers: list[str], data: bytes, expected: int) -> None:
    with Connection(server) as connection:
        connection.send(request([LINE.replace("1.1", "1.0"), *headers]) + data)
        assert connection.answer().status == expected
        assert connection.closed()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["X-A: " + 60_000 * "a"], 200),
        (["X-A: " + 70_000 * "a"], 431),
        (["X-A: " + 10_000_000 * "a"], 431),
        ([70_000 * "a" + ": b"], 431),
        ([f"X-{index}: a" for index in range(99)], 200),
        ([f"X-{index}: a" for index in range(100)], 431),
        ([f"X-{index}: a" for index in range(50_000)], 431),
    ],
    ids=["60 KB", "70 KB", "10 MB", "name", "100 headers", "101 headers", "50,000 headers"],
)
def test_size_of_the_head(server: ServerProcess, headers: list[str], expected: int) -> None:
    answer = exchange(server, get(LIVE, *headers), method="GET")
    assert answer
    assert (answer.status, answer.headers["connection"]) == (expected, "close" if expected > 200 else None)


def test_a_large_body_does_not_count_for_the_next_head(server: ServerProcess) -> None:
    with Connection(server) as connection:
        connection.send(post(90_000 * b" " + GOOD) + get(LIVE)[:9])
        assert connection.answer().status == 200
        connection.send(get(LIVE)[9:])
        assert connection.answer("GET").status == 200


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
