"""HTTP/2 frames of which any may be malformed, and a connection that sends them and collects what comes back."""

import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
FRAME_BYTES = 16_384
LIVE = "/inference.GRPCInferenceService/ServerLive"

Header = tuple[str, str]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Encode a frame; ``length`` is the length that it claims."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(values: dict[int, int] | None = None) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *item) for item in (values or {}).items()))


def header_block(
    path: str = LIVE, extra: Iterable[Header] = (), method: str = "POST", without: Sequence[str] = ()
) -> bytes:
    """Encode the headers of a call, without references to earlier ones."""
    usual = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
    usual += [("content-type", "application/grpc"), ("te", "trailers")]
    headers = [*(header for header in usual if header[0] not in without), *extra]
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*header) for header in headers], huffman=False)


def headers_frames(block: bytes, stream: int = 1, flags: int = 0) -> bytes:
    """Encode a header block as HEADERS and, if it is long, CONTINUATION."""
    parts = [block[start : start + FRAME_BYTES] for start in range(0, len(block), FRAME_BYTES)]
    return b"".join(
        frame(
            CONTINUATION if index else HEADERS,
            (END_HEADERS if index == len(parts) - 1 else 0) | (0 if index else flags),
            stream,
            part,
        )
        for index, part in enumerate(parts)
    )


def call(
    path: str = LIVE,
    message: bytes = b"",
    stream: int = 1,
    extra: Iterable[Header] = (),
    compressed: int = 0,
    without: Sequence[str] = (),
) -> bytes:
    """Encode a unary call with one message."""
    block = header_block(path, extra, without=without)
    return headers_frames(block, stream) + message_frames(message, stream, compressed)


def message_frames(message: bytes, stream: int = 1, compressed: int = 0) -> bytes:
    """Encode a message as DATA frames that end the stream."""
    body = bytes([compressed]) + len(message).to_bytes(4, "big") + message
    starts = range(0, len(body), FRAME_BYTES)
    return b"".join(
        frame(DATA, END_STREAM if start == starts[-1] else 0, stream, body[start : start + FRAME_BYTES])
        for start in starts
    )


@dataclass
class Connection:
    """HTTP/2 connection to a gRPC server, and what the server did with it."""

    address: str
    first_settings: dict[int, int] = field(default_factory=dict)
    acknowledge: bool = True
    """False to leave the server's settings unacknowledged."""
    statuses: dict[int, int] = field(default_factory=dict)
    """gRPC status of each stream that ended with one."""
    messages: dict[int, str] = field(default_factory=dict)
    """gRPC status message by stream."""
    resets: dict[int, int] = field(default_factory=dict)
    """Error code of each stream that the server reset."""
    goaway: int | None = None
    """Error code of the server's GOAWAY."""
    pongs: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        host, port = self.address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._decoder = hpack.Decoder()
        self._buffer = b""
        self._acknowledged = False

    def open(self) -> "Connection":
        """Exchange the settings."""
        self.send(PREFACE + settings(self.first_settings))
        self.read_until(lambda: self._acknowledged)
        if self.acknowledge:
            # The answer to the ping shows that the server has processed the acknowledgement.
            self.send(frame(SETTINGS, ACK, 0) + frame(PING, 0, 0, b"settings"))
            self.read_until(lambda: self.pongs > 0)
            self.pongs = 0
        return self

    def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed the connection meanwhile is no error."""
        try:
            self._socket.sendall(data)
        except (ConnectionError, TimeoutError):
            self.closed = True

    def read_until(self, done: Callable[[], bool], seconds: float = 30) -> None:
        """Read frames until ``done`` or the connection is closed.

        Raises:
            TimeoutError: If neither happens.
        """
        self._socket.settimeout(seconds)
        while not done() and not self.closed:
            try:
                data = self._socket.recv(65_536)
            except ConnectionError:
                data = b""
            self.closed = not data
            self._buffer += data
            self._parse()

    def wait_for_stream(self, stream: int = 1) -> None:
        """Read until a stream has ended."""
        self.read_until(lambda: stream in self.statuses or stream in self.resets)

    def close(self) -> None:
        self._socket.close()

    def _parse(self) -> None:
        while len(self._buffer) >= 9:
            parsed, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                return
            parsed.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._receive(parsed)

    def _receive(self, received: Frame) -> None:
        match received:
            case SettingsFrame() if "ACK" in received.flags:
                self._acknowledged = True
            case PingFrame() if "ACK" in received.flags:
                self.pongs += 1
            case PingFrame():
                self.send(frame(PING, ACK, 0, received.opaque_data))
            case GoAwayFrame():
                self.goaway = received.error_code
            case RstStreamFrame():
                self.resets[received.stream_id] = received.error_code
            case HeadersFrame():
                headers = dict(self._decoder.decode(received.data))
                if "grpc-status" in headers:
                    self.statuses[received.stream_id] = int(headers["grpc-status"])
                    self.messages[received.stream_id] = headers.get("grpc-message", "")
