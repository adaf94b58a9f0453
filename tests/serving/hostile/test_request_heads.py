"""Request lines, versions and sizes of the head over HTTP/1.1, and bytes that are no HTTP (RFC 9112)."""

import pytest
from serving.hostile.raw_http import CLASSIFY, GOOD, Connection, exchange, get, post, request, status
from serving.server_process import ServerProcess

LINE = f"POST {CLASSIFY} HTTP/1.1"
HOST = "Host: localhost"
LENGTH = f"Content-Length: {len(GOOD)}"
CHUNKED = "Transfer-Encoding: chunked"
SIZE = b"%x" % len(GOOD)
CHUNK = SIZE + b"\r\n" + GOOD + b"\r\n"
LIVE = "/v2/health/live"


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
