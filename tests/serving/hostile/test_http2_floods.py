"""Floods over HTTP/2: each is ended or bounded, and clients on other connections are answered.

Rapid reset (CVE-2023-44487), CONTINUATION flood (CVE-2024-27316), the floods of CVE-2019-9511 to 9518.
"""

from contextlib import ExitStack

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from serving.hostile.http2 import GET_LIVE, Http2Connection, data, head
from serving.hostile.raw_http import CLASSIFY, GOOD, post, status
from serving.hostile.usage import Usage, usage
from serving.server_process import ServerProcess

pytestmark = pytest.mark.slow  # what they measure takes the machine for seconds

MIB = 2**20
CALM = "GOAWAY ENHANCE_YOUR_CALM"
WINDOW = SettingsFrame.INITIAL_WINDOW_SIZE


def check(server: ServerProcess, used: Usage, mib: int = 16, cpu_seconds: float = 2.0) -> None:
    """Check what a flood cost, and that another client is answered."""
    assert used.peak_bytes <= mib * MIB, used
    assert used.cpu_seconds <= cpu_seconds, used
    assert status(server, post(GOOD)) == 200


def flood(connection: Http2Connection, frames: bytes, times: int) -> int:
    """Send frames over and over without reading; return how many bytes were sent before the server stopped to read."""
    connection.socket.settimeout(0.5)
    sent = 0
    try:
        for _ in range(times):
            sent += connection.socket.send(frames)
    except (TimeoutError, ConnectionError):
        pass
    return sent


@pytest.mark.parametrize("body", [None, b"", GOOD])
def test_rapid_reset(server: ServerProcess, body: bytes | None) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        for stream in range(1, 20_001, 2):
            if body is None:
                frames: list[Frame] = [connection.headers(stream, GET_LIVE)]
            else:
                flags = [] if body else ["END_STREAM"]
                frames = [connection.headers(stream, head(), "END_HEADERS"), data(stream, body[:-1] or body, *flags)]
            connection.send_frames(*frames, RstStreamFrame(stream, error_code=8))
        assert connection.outcome(20_001) in (CALM, "closed")
    check(server, used)


def test_resets_that_the_client_makes_the_server_send(server: ServerProcess) -> None:
    # "MadeYouReset" (CVE-2025-8671): each request gets work done, then its stream ends by an error of the client.
    with usage(server) as used, Http2Connection(server) as connection:
        for stream in range(1, 20_001, 2):
            frame = connection.headers(stream, head(), "END_HEADERS")
            overflow = [WindowUpdateFrame(stream, window_increment=2**31 - 1) for _ in range(2)]
            connection.send_frames(frame, data(stream, GOOD), *overflow)
        assert connection.outcome(20_001) in (CALM, "closed")
    check(server, used)


def test_more_streams_than_allowed_are_refused(server: ServerProcess) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        streams = range(1, 2_001, 2)
        connection.send_frames(*(connection.headers(stream, head(), "END_HEADERS") for stream in streams))
        assert connection.outcome(1_999) in ("RST_STREAM REFUSED_STREAM", CALM, "closed")
    check(server, used)


def test_as_many_streams_as_allowed_are_answered(server: ServerProcess) -> None:
    with Http2Connection(server) as connection:
        streams = range(1, 257, 2)
        for stream in streams:
            connection.classify(stream)
        assert [connection.outcome(stream) for stream in streams] == 128 * [200]


@pytest.mark.parametrize("size", [0, 1, 1_000])
def test_continuation_flood(server: ServerProcess, size: int) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        connection.send_frames(connection.headers(1, GET_LIVE, "END_STREAM"))
        flood(connection, 1_000 * ContinuationFrame(1, size * b"\x82").serialize(), 1_000)
        assert connection.outcome(1) in (CALM, "GOAWAY PROTOCOL_ERROR", "closed")
    check(server, used)


def test_hpack_bomb(server: ServerProcess) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        # One header of 4 KB in the table of the server, then its index of one byte 16,000 times: 64 MB.
        block = connection.encoder.encode([*GET_LIVE, ("x-a", 4_000 * "a")], huffman=False)
        frame = HeadersFrame(1, block + 10_000 * connection.encoder.encode([("x-a", 4_000 * "a")], huffman=False))
        frame.flags |= {"END_HEADERS", "END_STREAM"}
        connection.send_frames(frame)
        assert connection.outcome(1) in (431, CALM, "closed")
    check(server, used)


@pytest.mark.parametrize(
    "frame",
    [
        PingFrame(0, b"12345678"),
        SettingsFrame(0),
        SettingsFrame(0, settings={WINDOW: 1}),
        PriorityFrame(1, depends_on=3, stream_weight=1),
        WindowUpdateFrame(0, window_increment=1),
        RstStreamFrame(1),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_control_frames_of_a_client_that_does_not_read(server: ServerProcess, frame: Frame) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        connection.request(1)
        connection.outcome(1)
        flood(connection, 1_000 * frame.serialize(), 1_000)
    check(server, used)


def test_priority_cycles(server: ServerProcess) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        for stream in range(1, 2_001, 2):
            connection.send_frames(PriorityFrame(stream, depends_on=(stream + 2) % 2_000, stream_weight=255))
        connection.request(2_001)
        assert connection.outcome(2_001) == 200
    check(server, used)


@pytest.mark.parametrize("size", [0, 1])
def test_bodies_of_many_small_frames(server: ServerProcess, size: int) -> None:
    with usage(server) as used, Http2Connection(server) as connection:
        connection.send_frames(connection.headers(1, head(), "END_HEADERS"))
        frames = 100 * data(1, size * b" ").serialize()
        flood(connection, frames, 200)
        assert connection.outcome(1) in (400, 413, CALM, "closed")
    check(server, used, cpu_seconds=3)


def test_a_client_with_a_window_of_zero_never_gets_its_answers(server: ServerProcess) -> None:
    path = head("GET", "/page.js")
    with usage(server) as used, Http2Connection(server, {WINDOW: 0}) as connection:
        for stream in range(1, 257, 2):
            connection.request(stream, path)
        # The first byte of window shows that all were answered.
        connection.send_frames(SettingsFrame(0, settings={WINDOW: 1_000_000}))
        assert connection.outcome(1) == 200
    check(server, used)


def test_answers_of_one_byte_each(server: ServerProcess) -> None:
    with usage(server) as used, Http2Connection(server, {WINDOW: 1}) as connection:
        connection.request(1, head("GET", "/openapi.json"))
        for _ in range(2_000):
            connection.send_frames(WindowUpdateFrame(1, window_increment=1))
        connection.send_frames(SettingsFrame(0, settings={WINDOW: 1_000_000}))
        assert connection.outcome(1) == 200
    check(server, used)


def test_streams_that_are_reset_within_their_body_leave_nothing(server: ServerProcess) -> None:
    with usage(server) as used:
        for _ in range(20):
            with Http2Connection(server) as connection:
                for stream in range(1, 21, 2):
                    connection.send_frames(connection.headers(stream, head(), "END_HEADERS"))
                    connection.send_frames(data(stream, 5_000 * b" "), RstStreamFrame(stream, error_code=8))
                connection.request(101)
                assert connection.outcome(101) == 200
    check(server, used, cpu_seconds=0.5)


def test_many_connections_that_only_say_hello(server: ServerProcess) -> None:
    with usage(server) as used, ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(Http2Connection(server))
        assert status(server, post(GOOD)) == 200
    check(server, used, mib=32)


def test_a_connection_after_goaway_is_closed(server: ServerProcess) -> None:
    with Http2Connection(server) as connection:
        connection.classify(1)
        connection.send(bytes.fromhex("000008070000000000" + 16 * "0"))
        assert connection.outcome(1) in (200, "closed")
        assert connection.outcome(3) == "closed"


def test_http2_over_tls(secured_server: ServerProcess, secret_key: tuple[str, str]) -> None:
    key = ("authorization", f"Bearer {secret_key[0]}")
    with Http2Connection(secured_server) as connection:
        connection.classify(1, key)
        connection.classify(3)
        connection.classify(5, key, body=b'{"texts": ["a", "b", "c", "d"]}')
        connection.classify(7, key, body=b'{"texts": ["' + 101 * b"a" + b'"]}')
        assert [connection.outcome(stream) for stream in (1, 3, 5, 7)] == [200, 401, 422, 422]
        connection.send_frames(connection.headers(9, head("POST", CLASSIFY, key), "END_HEADERS"))
        connection.upload(9, bytes(2 * MIB))
        assert connection.outcome(9) == 413
