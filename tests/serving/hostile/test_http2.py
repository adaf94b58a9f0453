"""HTTP/2: malformed requests and frames end a stream or a connection, as RFC 9113 says, and harm no other."""

import pytest
from serving.hostile.http2 import GET_LIVE, PREFACE, Headers, Http2Connection, Outcome, data, head
from serving.hostile.raw_http import CLASSIFY, GOOD, Connection, status
from serving.server_process import ServerProcess

PROTOCOL_ERROR = "RST_STREAM PROTOCOL_ERROR"
GOAWAY = "GOAWAY PROTOCOL_ERROR"
LENGTH = str(len(GOOD))
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GO_AWAY, WINDOW_UPDATE, CONTINUATION = range(10)
BLOCK = b"\x82\x86\x84"
"""GET http /, compressed, without an authority."""


def without(name: str) -> Headers:
    """Return the headers of a request without one of them."""
    return [(other, value) for other, value in head() if other != name]


def twice(name: str) -> Headers:
    """Return the headers of a request with one of them twice."""
    return [*head(), (name, dict(head())[name])]


def more(name: str, value: str) -> Headers:
    """Return the headers of a request with another one."""
    return head("POST", CLASSIFY, (name, value))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (head(), 200),
        (without(":method"), PROTOCOL_ERROR),
        (without(":scheme"), PROTOCOL_ERROR),
        (without(":path"), PROTOCOL_ERROR),
        (without(":authority"), 403),
        ([*without(":authority"), ("host", "localhost")], 200),
        ([*without(":authority"), ("host", "evil.example")], 403),
        (twice(":method"), PROTOCOL_ERROR),
        (twice(":scheme"), PROTOCOL_ERROR),
        (twice(":authority"), PROTOCOL_ERROR),
        (twice(":path"), PROTOCOL_ERROR),
        ([*without(":path"), ("x-a", "b"), (":path", CLASSIFY)], PROTOCOL_ERROR),
        ([*head(), (":status", "200")], PROTOCOL_ERROR),
        ([*head(), (":unknown", "a")], GOAWAY),
        (head(host="evil.example"), 403),
        (more("host", "localhost"), 200),
        (more("host", "evil.example"), 400),
        ([*more("host", "localhost"), ("host", "localhost")], 400),
        (more("X-Upper", "a"), GOAWAY),
        (more("", "a"), GOAWAY),
        (more("x a", "b"), GOAWAY),
        (more("x-a", "b\0c"), GOAWAY),
        (more("x-a", "b\r\nc: d"), GOAWAY),
        (more("x-\u00e9", "a"), GOAWAY),
        (more("x-a", "\u00e9"), 200),
        (more("connection", "close"), PROTOCOL_ERROR),
        (more("keep-alive", "5"), PROTOCOL_ERROR),
        (more("proxy-connection", "close"), PROTOCOL_ERROR),
        (more("transfer-encoding", "chunked"), PROTOCOL_ERROR),
        (more("upgrade", "h2c"), PROTOCOL_ERROR),
        (more("te", "gzip"), PROTOCOL_ERROR),
        (more("te", "trailers"), 200),
        (more("content-length", LENGTH), 200),
        (more("content-length", "3"), PROTOCOL_ERROR),
        (more("content-length", "0"), PROTOCOL_ERROR),
        (more("content-length", "99"), PROTOCOL_ERROR),
        (more("content-length", "-1"), PROTOCOL_ERROR),
        (more("content-length", f"+{LENGTH}"), PROTOCOL_ERROR),
        (more("content-length", 5_000 * "9"), PROTOCOL_ERROR),
        ([*more("content-length", LENGTH), ("content-length", LENGTH)], 400),
        ([*more("content-length", LENGTH), ("content-length", "3")], PROTOCOL_ERROR),
        (head("POST", CLASSIFY, *((f"x-{index}", "a") for index in range(1_000))), 200),
    ],
)
def test_headers(server: ServerProcess, headers: Headers, expected: Outcome) -> None:
    with Http2Connection(server) as connection:
        connection.request(1, headers, GOOD)
        assert connection.outcome(1) == expected
        # What is wrong with one request ends its stream only.
        connection.request(3)
        assert connection.outcome(3) == ("closed" if expected == GOAWAY else 200)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(":method", "CONNECT"), (":authority", "localhost:443")], 404),
        (head("connect", "/v1/models"), 405),
        (head("BREW", "/v1/models"), 405),
        (head("OPTIONS", "*"), 204),
        (head("GET", "*"), 404),
        (head("GET", ""), PROTOCOL_ERROR),
        (head("GET", "v1/models"), PROTOCOL_ERROR),
        (head("GET", "http://localhost/v1/models"), PROTOCOL_ERROR),
        (head("GET", "/a b"), PROTOCOL_ERROR),
        (head("GET", "/\0"), PROTOCOL_ERROR),
        (head("G T", "/v1/models"), GOAWAY),
        (head("HEAD", "/v1/models"), 200),
    ],
)
def test_methods_and_paths(server: ServerProcess, headers: Headers, expected: Outcome) -> None:
    with Http2Connection(server) as connection:
        connection.request(1, headers)
        assert connection.outcome(1) == expected
        assert not (connection.bodies[1] if expected == 200 else b"")


@pytest.mark.parametrize(
    ("kind", "flags", "stream", "payload", "expected"),
    [
        (DATA, 0, 0, b"a", GOAWAY),
        (DATA, 0, 1, b"a", GOAWAY),  # of a stream that is not open
        (DATA, 0x8, 1, b"\xffabc", GOAWAY),  # more padding than there is
        (HEADERS, 0x5, 0, BLOCK, GOAWAY),
        (HEADERS, 0x5, 2, BLOCK, GOAWAY),  # even streams are the server's
        (HEADERS, 0x5, 1, b"\xff\xff", GOAWAY),  # an index that is not in the table
        (HEADERS, 0x5, 1, b"\x3f\xff\xff\xff\xff\x0f", GOAWAY),  # a table larger than allowed
        (HEADERS, 0x5, 1, b"\x40\x82\xff\xff\x01a", GOAWAY),  # no Huffman code
        (HEADERS, 0x25, 1, b"\0\0\0\x01\x10" + BLOCK, PROTOCOL_ERROR),  # depends on itself
        (PRIORITY, 0, 1, b"\0\0\0\x01\x10", PROTOCOL_ERROR),
        (PRIORITY, 0, 1, b"abcd", GOAWAY),
        (RST_STREAM, 0, 1, bytes(4), GOAWAY),
        (RST_STREAM, 0, 1, bytes(3), GOAWAY),
        (SETTINGS, 0, 1, b"", GOAWAY),
        (SETTINGS, 0, 0, b"abcde", GOAWAY),
        (SETTINGS, 0x1, 0, b"abcdef", GOAWAY),
        (SETTINGS, 0, 0, b"\0\x02\0\0\0\x02", GOAWAY),  # ENABLE_PUSH 2
        (SETTINGS, 0, 0, b"\0\x04\x80\0\0\0", GOAWAY),  # INITIAL_WINDOW_SIZE 2^31
        (SETTINGS, 0, 0, b"\0\x05\0\0\0\x01", GOAWAY),  # MAX_FRAME_SIZE 1
        (PUSH_PROMISE, 0x4, 1, b"\0\0\0\x02" + BLOCK, GOAWAY),
        (PING, 0, 0, b"1234567", GOAWAY),
        (PING, 0, 1, b"12345678", GOAWAY),
        (GO_AWAY, 0, 0, bytes(4), GOAWAY),
        (GO_AWAY, 0, 0, bytes(8), "closed"),  # a client may say goodbye
        (WINDOW_UPDATE, 0, 0, bytes(4), GOAWAY),
        (WINDOW_UPDATE, 0, 1, b"\0\0\0\x01", GOAWAY),
        (CONTINUATION, 0x4, 1, BLOCK, GOAWAY),
        (DATA, 0, 1, bytes(16_385), "GOAWAY FRAME_SIZE_ERROR"),
        (DATA, 0, 1, bytes(2**24 - 1), "GOAWAY FRAME_SIZE_ERROR"),
    ],
)
def test_frames(server: ServerProcess, kind: int, flags: int, stream: int, payload: bytes, expected: Outcome) -> None:
    with Http2Connection(server) as connection:
        connection.send(frame(kind, flags, stream, payload))
        assert connection.outcome(stream or 1) == expected


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame that need not be valid."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def test_frames_of_unknown_type_are_ignored(server: ServerProcess) -> None:
    with Http2Connection(server) as connection:
        connection.send(frame(0xBB, 0xFF, 0, b"hello"))
        connection.request(1)
        assert connection.outcome(1) == 200


def test_a_stream_is_used_once(server: ServerProcess) -> None:
    for again in (data(1, GOOD, "END_STREAM"), None):
        with Http2Connection(server) as connection:
            connection.classify(1)
            assert connection.outcome(1) == 200
            connection.send_frames(again or connection.headers(1, GET_LIVE))
            assert str(connection.outcome(1)).endswith("STREAM_CLOSED") or connection.outcome(1) == "closed"
    with Http2Connection(server) as connection:
        connection.request(5)
        connection.request(3)  # streams only count upwards
        assert connection.outcome(3) == GOAWAY


def test_trailers_are_ignored(server: ServerProcess) -> None:
    with Http2Connection(server) as connection:
        connection.send_frames(connection.headers(1, head(), "END_HEADERS"), data(1, GOOD))
        connection.send_frames(connection.headers(1, [("x-trailer", "a")]))
        assert connection.outcome(1) == 200
        connection.send_frames(connection.headers(3, head(), "END_HEADERS"), data(3, GOOD))
        connection.send_frames(connection.headers(3, [("x-trailer", "a")], "END_HEADERS"))
        assert connection.outcome(3) == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("size", "expected"),
    [(60_000, 200), (70_000, 431), (200_000, "GOAWAY ENHANCE_YOUR_CALM"), (5_000_000, "GOAWAY ENHANCE_YOUR_CALM")],
)
def test_size_of_the_head(server: ServerProcess, size: int, expected: Outcome) -> None:
    with Http2Connection(server) as connection:
        block = connection.encoder.encode([*GET_LIVE, ("x-a", size * "a")], huffman=False)
        parts = [block[start : start + 16_384] for start in range(0, len(block), 16_384)]
        connection.send(
            b"".join(
                frame(CONTINUATION if index else HEADERS, 0x1 | (0x4 if index == len(parts) - 1 else 0), 1, part)
                for index, part in enumerate(parts)
            )
        )
        assert connection.outcome(1) == expected


def test_body_over_the_limit(server: ServerProcess) -> None:
    with Http2Connection(server) as connection:
        connection.send_frames(connection.headers(1, [*head(), ("content-length", "9000000")], "END_HEADERS"))
        assert connection.outcome(1) == 413
        connection.send_frames(connection.headers(3, head(), "END_HEADERS"))
        connection.upload(3, bytes(9_000_000))
        assert connection.outcome(3) == 413


def test_preface(server: ServerProcess) -> None:
    assert status(server, PREFACE[:-8] + b"XX\r\n\r\n" + bytes(50)) == 400
    for sent in (PREFACE + b"GET / HTTP/1.1\r\n\r\n", PREFACE + PREFACE):
        with Connection(server) as connection:
            connection.send(sent)
            while connection.socket.recv(65_536):  # frames, then the end
                pass
