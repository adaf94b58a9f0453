"""Malformed HTTP/2, floods and bombs have a bounded cost each, and the gRPC server answers others meanwhile."""

import random
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import grpc
import pytest
from serving.hostile.grpc_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LIVE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    call,
    frame,
    header_block,
    headers_frames,
    settings,
)
from serving.hostile.usage import usage
from serving.server_process import ServerProcess

from textgate.serving import open_inference_pb2 as pb

INFER = "/inference.GRPCInferenceService/ModelInfer"
OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 4, 8, 12, 13
UNAVAILABLE = 14
PROTOCOL_ERROR, INTERNAL_ERROR = 1, 2
REFUSALS = {7, 11}
"""REFUSED_STREAM and ENHANCE_YOUR_CALM."""
MEBIBYTE = 2**20
LIMIT = 8 * MEBIBYTE
"""Default size limit of a message."""
LIVE_SECONDS = 2.0
"""Longest time for an answer to others; 0.1 s would fail on a busy machine."""


@pytest.fixture(scope="module")
def live(server: ServerProcess) -> Iterator[Callable[[], None]]:
    """Check that another client is answered."""
    with grpc.insecure_channel(server.grpc) as channel:
        server_live = channel.unary_unary(LIVE)

        def check() -> None:
            started = time.monotonic()
            assert pb.ServerLiveResponse.FromString(server_live(b"", timeout=60)).live
            assert time.monotonic() - started < LIVE_SECONDS

        check()
        yield check


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="HTTP/1.1"),
        pytest.param(random.Random(1).randbytes(1_000), id="random bytes"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500, id="TLS to a port without it"),
        pytest.param(PREFACE + call(), id="a call before the settings"),
        pytest.param(PREFACE + settings({4: 2**31}), id="a window over 2^31"),
        pytest.param(PREFACE + settings({5: 0}), id="frames of no size"),
        pytest.param(PREFACE + frame(SETTINGS, 0, 0, b"12345"), id="settings of 5 bytes"),
        pytest.param(PREFACE + settings() + frame(SETTINGS, ACK, 0, b"123456"), id="an acknowledgement with settings"),
        pytest.param(PREFACE + settings() + frame(SETTINGS, 0, 1), id="settings of a stream"),
        pytest.param(PREFACE + settings() + frame(DATA, 0, 1, b"", 2**24 - 1), id="a frame of 16 MiB"),
        pytest.param(PREFACE + settings() + frame(CONTINUATION, 4, 1, b""), id="CONTINUATION without HEADERS"),
        pytest.param(PREFACE + settings() + frame(PING, 0, 0, b"7 bytes"), id="a ping of 7 bytes"),
        pytest.param(PREFACE + settings() + frame(WINDOW_UPDATE, 0, 0, bytes(4)), id="a window update of 0"),
        pytest.param(PREFACE + settings() + frame(PING, 0, 0, bytes(8)) * 10_000, id="a flood of pings"),
    ],
)
def test_a_malformed_connection_is_closed(server: ServerProcess, live: Callable[[], None], data: bytes) -> None:
    with usage(server) as used:
        connection = Connection(server.grpc)
        connection.send(data)
        connection.read_until(lambda: False)
        assert connection.closed
        assert not connection.statuses
        live()
    assert used.peak_bytes < 16 * MEBIBYTE


class Answer(NamedTuple):
    """Expected answer to stream 1."""

    statuses: tuple[int, ...] = ()
    """gRPC statuses, one of which is expected."""
    resets: tuple[int, ...] = ()
    """HTTP/2 error codes, one of which is expected if there is no status."""


BLOCK = header_block()


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        pytest.param(frame(DATA, 0, 5, b"x") + call(), Answer((OK,)), id="DATA of no stream"),
        pytest.param(
            frame(PRIORITY, 0, 1, b"\0\0\0\1\x10") + call(), Answer((OK,)), id="a stream that depends on itself"
        ),
        pytest.param(frame(77, 255, 3, b"unknown") + call(), Answer((OK,)), id="a frame of unknown type"),
        pytest.param(frame(PING, ACK, 0, bytes(8)) * 10_000 + call(), Answer((OK,)), id="answers to no ping"),
        pytest.param(frame(GOAWAY, 0, 0, bytes(8)) + call(), Answer((OK,)), id="a call after GOAWAY"),
        pytest.param(frame(RST_STREAM, 0, 9, bytes(4)) + call(), Answer((OK,)), id="a reset of no stream"),
        pytest.param(settings({3: 100}) * 20_000 + call(), Answer((OK,)), id="a flood of settings"),
        pytest.param(call() + call(stream=1), Answer((OK,)), id="a stream twice"),
        pytest.param(
            headers_frames(BLOCK) + frame(RST_STREAM, 0, 1, b"\0\0\1"),
            Answer((UNAVAILABLE,)),
            id="a reset of 3 bytes",
        ),
        pytest.param(
            frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)),
            Answer((UNAVAILABLE,)),
            id="headers that another frame interrupts",
        ),
        pytest.param(
            frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1) * 100_000,
            Answer((), (PROTOCOL_ERROR, INTERNAL_ERROR)),
            id="a flood of empty CONTINUATION",
        ),
        pytest.param(
            frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 3_200) * 200,
            Answer((RESOURCE_EXHAUSTED,)),
            id="a flood of CONTINUATION",
        ),
        pytest.param(
            headers_frames(BLOCK + b"\x40\x01a\x7f\xb9\x16" + b"b" * 2_878 + b"\xbe" * 12_000),
            Answer((RESOURCE_EXHAUSTED,)),
            id="an HPACK bomb",
        ),
        pytest.param(call(extra=[("x", "y" * 20_000)]), Answer((RESOURCE_EXHAUSTED,)), id="a header of 20 KB"),
        pytest.param(
            call(extra=[(f"x{index}", "") for index in range(1_000)]), Answer((RESOURCE_EXHAUSTED,)), id="1,000 headers"
        ),
        pytest.param(headers_frames(b"\xff\xff\xff\x7f"), Answer((INTERNAL,)), id="an HPACK index that does not exist"),
        pytest.param(headers_frames(b"\xff" * 30), Answer((INTERNAL,)), id="an HPACK integer without end"),
        pytest.param(
            headers_frames(b"\x3f\xe1\xff\xff\x7f" + BLOCK), Answer((INTERNAL,)), id="an HPACK table of 256 MiB"
        ),
        pytest.param(
            frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + BLOCK), Answer((INTERNAL,)), id="more padding than frame"
        ),
        pytest.param(call(extra=[("UPPER", "x")]), Answer((INTERNAL,)), id="a header name in upper case"),
        pytest.param(call(extra=[("x-bin", "!!!")]), Answer((INTERNAL,)), id="a binary header that is not base64"),
        pytest.param(call(extra=[("x-request-id", "a\r\nb: c")]), Answer((OK,)), id="a header with a line break"),
        pytest.param(call(extra=[("x-request-id", "\xff")]), Answer((OK,)), id="a header that is not ASCII"),
        pytest.param(call("/no/method"), Answer((UNIMPLEMENTED,)), id="an unknown method"),
        pytest.param(call(""), Answer((UNIMPLEMENTED,)), id="an empty path"),
        pytest.param(call(without=[":path"]), Answer((), (PROTOCOL_ERROR, INTERNAL_ERROR)), id="no path"),
        pytest.param(
            headers_frames(header_block(method="GET"), flags=END_STREAM),
            Answer((), (PROTOCOL_ERROR, INTERNAL_ERROR)),
            id="GET",
        ),
        pytest.param(headers_frames(BLOCK, flags=END_STREAM), Answer((INVALID_ARGUMENT,)), id="no message"),
        pytest.param(
            headers_frames(BLOCK) + frame(DATA, END_STREAM, 1, b"\0\0"),
            Answer((INVALID_ARGUMENT,)),
            id="part of a prefix",
        ),
        pytest.param(
            headers_frames(BLOCK) + frame(DATA, END_STREAM, 1, b"\0\0\0\0\x09abc"),
            Answer((INVALID_ARGUMENT,)),
            id="part of a message",
        ),
        pytest.param(
            headers_frames(BLOCK) + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"),
            Answer((RESOURCE_EXHAUSTED,)),
            id="a message of 4 GiB",
        ),
        pytest.param(
            headers_frames(BLOCK) + frame(DATA, END_STREAM, 1, bytes(10)),
            Answer((OK,)),
            id="two messages instead of one",
        ),
        pytest.param(call(message=b"x", compressed=1), Answer((INTERNAL,)), id="compressed, without saying how"),
        pytest.param(
            call(message=b"x", compressed=1, extra=[("grpc-encoding", "gzip")]), Answer((INTERNAL,)), id="not gzip"
        ),
        pytest.param(
            call(message=b"x", compressed=1, extra=[("grpc-encoding", "zstd")]),
            Answer((INTERNAL, UNIMPLEMENTED)),
            id="an unknown compression",
        ),
        pytest.param(call(message=b"\xff" * 100), Answer((INVALID_ARGUMENT,)), id="bytes that are no message"),
        pytest.param(call(message=b"\x0a" * 70_000), Answer((INVALID_ARGUMENT,)), id="more than a small message"),
        pytest.param(
            call("/inference.GRPCInferenceService/ModelReady", b"\x0a\x02\xff\xfe"),
            Answer((INVALID_ARGUMENT,)),
            id="a name that is not UTF-8",
        ),
        pytest.param(call(extra=[("grpc-timeout", "0n")]), Answer((DEADLINE_EXCEEDED, OK)), id="no time at all"),
        pytest.param(call(extra=[("grpc-timeout", "-1S")]), Answer((INTERNAL,)), id="a negative deadline"),
        pytest.param(call(extra=[("grpc-timeout", "soon")]), Answer((INTERNAL,)), id="a deadline that is no number"),
        pytest.param(call(extra=[("grpc-timeout", "99999999H")]), Answer((OK,)), id="a deadline in 11,000 years"),
    ],
)
def test_a_malformed_call_is_answered(
    server: ServerProcess, live: Callable[[], None], data: bytes, answer: Answer
) -> None:
    with usage(server) as used:
        connection = Connection(server.grpc).open()
        connection.send(data)
        connection.wait_for_stream()
        if answer.statuses:
            assert connection.statuses.get(1) in answer.statuses, connection
        else:
            assert connection.resets.get(1) in answer.resets, connection
        assert len(connection.messages.get(1, "")) < 2_000
        connection.close()
        live()
    assert used.peak_bytes < 16 * MEBIBYTE + 4 * len(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(HEADERS, END_HEADERS | END_STREAM, 0, BLOCK), id="HEADERS of stream 0"),
        pytest.param(frame(DATA, 0, 0, b"x"), id="DATA of stream 0"),
        pytest.param(call(stream=2), id="a stream of the server's"),
        pytest.param(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + BLOCK), id="PUSH_PROMISE of a client"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2, id="a window over 2^31"),
        pytest.param(frame(PING, 0, 1, bytes(8)), id="a ping of a stream"),
    ],
)
def test_a_frame_without_a_stream_is_ignored_or_ends_the_connection(
    server: ServerProcess, live: Callable[[], None], data: bytes
) -> None:
    connection = Connection(server.grpc).open()
    connection.send(data + call(stream=99))
    connection.read_until(lambda: 99 in connection.statuses or 99 in connection.resets)
    assert connection.closed or connection.statuses.get(99) == OK or 99 in connection.resets
    connection.close()
    live()


def test_streams_that_are_opened_and_reset_are_cut_off(server: ServerProcess, live: Callable[[], None]) -> None:
    """Rapid reset, CVE-2023-44487."""
    streams = range(1, 40_001, 2)
    with usage(server) as used:
        connection = Connection(server.grpc).open()
        connection.send(
            b"".join(headers_frames(BLOCK, stream) + frame(RST_STREAM, 0, stream, bytes(4)) for stream in streams)
        )
        live()
        connection.send(frame(PING, 0, 0, b"the last"))
        connection.read_until(lambda: connection.pongs > 0)
        assert connection.closed or REFUSALS & {*connection.resets.values()}
        connection.close()
        live()
    assert used.peak_bytes < 64 * MEBIBYTE
    assert used.cpu_seconds < 5


def test_more_streams_than_allowed_are_refused(server: ServerProcess, live: Callable[[], None]) -> None:
    connection = Connection(server.grpc).open()
    connection.send(b"".join(headers_frames(BLOCK, stream) for stream in range(1, 2_001, 2)))
    connection.read_until(lambda: len(connection.resets) > 100)
    assert not connection.statuses
    assert min(connection.resets) == 2 * 128 + 1
    connection.close()
    live()


def test_a_client_that_wants_no_answer_holds_up_nobody(server: ServerProcess, live: Callable[[], None]) -> None:
    with usage(server) as used:
        connections = [Connection(server.grpc, {4: 0}).open() for _ in range(8)]
        for connection in connections:
            connection.send(b"".join(call(stream=stream) for stream in range(1, 256, 2)))
        live()
        for connection in connections:
            assert not connection.statuses
            # The window opens, so the answers arrive.
            connection.send(settings({4: 65_535}))
        for connection in connections:
            for stream in range(1, 256, 2):
                connection.wait_for_stream(stream)
            assert set(connection.statuses.values()) == {OK}
            connection.close()
    assert used.peak_bytes < 64 * MEBIBYTE


def test_1000_idle_connections_hold_up_nobody(server: ServerProcess, live: Callable[[], None]) -> None:
    host, port = server.grpc.rsplit(":", 1)
    with usage(server) as used, ExitStack() as stack:
        for index in range(1_000):
            opened = stack.enter_context(socket.create_connection((host, int(port))))
            opened.sendall(PREFACE + settings() if index % 2 else PREFACE[:5])
        live()
    assert used.peak_bytes < 1_000 * 64 * 1024
    live()


def length_delimited(field: int, payload: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def parameters(size: int) -> bytes:
    """Encode a map of at least ``size`` bytes with different keys."""
    return b"".join(length_delimited(4, length_delimited(1, b"%x" % index)) for index in range(size // 8))


def encode_tensor(texts: int) -> bytes:
    return pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[texts]).SerializeToString()


COUNT = (LIMIT - 100) // 2
"""Number of empty fields that fill a message."""
TENSOR = encode_tensor(1)
EMPTY_TEXTS = b"\x42\x00" * (COUNT // 2)
"""They hold up others for as long as they are parsed, which may take 0.1 s for a message of 8 MiB."""
BESIDES = "besides its texts must fit into 65536 bytes"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        pytest.param(b"\x2a\x00" * COUNT, BESIDES, id="4 million inputs"),
        pytest.param(b"\x32\x00" * COUNT, BESIDES, id="4 million outputs"),
        pytest.param(b"\x3a\x00" * COUNT, BESIDES, id="4 million raw contents"),
        pytest.param(b"\xf8\x07\x01" * (LIMIT // 3 - 10), BESIDES, id="3 million unknown fields"),
        pytest.param(parameters(LIMIT - 2 * MEBIBYTE), BESIDES, id="600,000 parameters"),
        pytest.param(
            length_delimited(5, TENSOR + parameters(LIMIT - 2 * MEBIBYTE)), BESIDES, id="600,000 parameters of a tensor"
        ),
        pytest.param(
            length_delimited(5, TENSOR + length_delimited(3, b"\x01" * (LIMIT - 100))),
            BESIDES,
            id="8 million dimensions",
        ),
        pytest.param(length_delimited(5, b"\x2a\x00" * COUNT), BESIDES, id="4 million contents of a tensor"),
        pytest.param(
            length_delimited(5, TENSOR + length_delimited(5, EMPTY_TEXTS)),
            "elements, where its shape says 1",
            id="2 million empty texts",
        ),
        pytest.param(
            length_delimited(
                5,
                pb.ModelInferRequest.InferInputTensor(
                    name="text", datatype="BYTES", shape=[COUNT - 50]
                ).SerializeToString()
                + length_delimited(5, EMPTY_TEXTS),
            ),
            "texts are more than the 1024",
            id="2 million empty texts, announced",
        ),
        pytest.param(
            length_delimited(5, TENSOR) + length_delimited(7, b"\0" * (LIMIT - 100)),
            "bytes after the 1 elements",
            id="2 million empty raw texts",
        ),
    ],
)
def test_the_parts_of_a_message_are_limited(
    server: ServerProcess, live: Callable[[], None], message: bytes, sentence: str
) -> None:
    with (
        usage(server) as used,
        grpc.insecure_channel(server.grpc) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(INFER)(message, timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert re.search(sentence, caught.value.details())
    assert used.peak_bytes < 20 * len(message)
    live()


@pytest.mark.parametrize(("name", "window_bits"), [("gzip", 31), ("deflate", 15)])
def test_a_compressed_message_is_inflated_within_the_limit(
    server: ServerProcess, live: Callable[[], None], name: str, window_bits: int
) -> None:
    compressor = zlib.compressobj(9, wbits=window_bits)
    # Compressed, it fits into the initial window of a stream.
    bomb = compressor.compress(bytes(60 * MEBIBYTE)) + compressor.flush()
    with usage(server) as used:
        connection = Connection(server.grpc).open()
        connection.send(call(INFER, bomb, extra=[("grpc-encoding", name)], compressed=1))
        connection.wait_for_stream()
        assert connection.statuses[1] == RESOURCE_EXHAUSTED
        connection.close()
    assert used.peak_bytes < 3 * LIMIT
    live()
