"""Client that sends any frames over HTTP/2, plain (prior knowledge) or by TLS: its libraries only encode them.

Outcomes of a request are a status, or what the server sent instead: ``"RST_STREAM PROTOCOL_ERROR"``,
``"GOAWAY ENHANCE_YOUR_CALM"``, or ``"closed"``.
"""

import ssl
from collections import defaultdict
from collections.abc import Mapping, Sequence

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from serving.hostile.raw_http import CLASSIFY, GOOD, Connection
from serving.server_process import ServerProcess

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Headers = Sequence[tuple[str, str]]
Outcome = int | str


def head(method: str = "POST", path: str = CLASSIFY, *more: tuple[str, str], host: str = "localhost") -> Headers:
    """Return the headers of a request."""
    return [(":method", method), (":scheme", "http"), (":authority", host), (":path", path), *more]


GET_LIVE = head("GET", "/v2/health/live")


class Http2Connection(Connection):
    """Connection over HTTP/2."""

    def __init__(self, server: ServerProcess, settings: Mapping[int, int] | None = None) -> None:
        super().__init__(server, alpn=["h2"])
        if isinstance(self.socket, ssl.SSLSocket):
            assert self.socket.selected_alpn_protocol() == "h2"
        self.encoder, self._decoder = Encoder(), Decoder()
        self._statuses: dict[int, int] = {}
        self._outcomes: dict[int, Outcome] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.received: list[Frame] = []
        self._windows: dict[int, int] = defaultdict(lambda: self._initial_window, {0: 65_535})
        """Bytes that may be sent, by stream; those of the connection under 0."""
        self._initial_window = 65_535
        self.send(PREFACE)
        self.send_frames(SettingsFrame(0, settings=dict(settings or {})))

    def send_frames(self, *frames: Frame) -> None:
        """Send frames."""
        for frame in frames:
            if isinstance(frame, DataFrame):
                self._windows[0] -= len(frame.data)
                self._windows[frame.stream_id] -= len(frame.data)
        self.send(b"".join(frame.serialize() for frame in frames))

    def headers(self, stream: int, headers: Headers, *flags: str) -> HeadersFrame:
        """Return a HEADERS frame; nothing follows it unless ``flags`` leaves END_HEADERS or END_STREAM out."""
        frame = HeadersFrame(stream, self.encoder.encode(headers))
        frame.flags |= set(flags or ("END_HEADERS", "END_STREAM"))
        return frame

    def request(self, stream: int, headers: Headers = GET_LIVE, body: bytes | None = None) -> None:
        """Send a request with the headers as they are."""
        if body is None:
            self.send_frames(self.headers(stream, headers))
        else:
            self.send_frames(self.headers(stream, headers, "END_HEADERS"), data(stream, body, "END_STREAM"))

    def classify(self, stream: int, *more: tuple[str, str], body: bytes = GOOD) -> None:
        """Send a request to classify."""
        self.request(stream, head("POST", CLASSIFY, *more), body)

    def wait_for_window(self, size: int) -> None:
        """Wait until ``size`` bytes of bodies may be sent over the connection."""
        while self._windows[0] < size:
            assert self._read_frame() is not None

    def upload(self, stream: int, body: bytes, *, frame_bytes: int = 16_384) -> None:
        """Send a body as fast as the server takes it, until it answers."""
        view = memoryview(body)
        while stream not in self._outcomes:
            size = min(frame_bytes, len(view), self._windows[0], self._windows[stream])
            if view and not size:
                if self._read_frame() is None:
                    return
                continue
            part, view = bytes(view[:size]), view[size:]
            self.send_frames(data(stream, part, *([] if view else ["END_STREAM"])))
            if not view:
                return

    def outcome(self, stream: int) -> Outcome:
        """Wait for the end of a response, or of the connection."""
        while stream not in self._outcomes:
            try:
                frame = self._read_frame()
            except ConnectionError:
                return "closed"
            if frame is None:
                return "closed"
            if isinstance(frame, GoAwayFrame) and frame.error_code:
                return f"GOAWAY {ErrorCodes(frame.error_code).name}"
        return self._outcomes.pop(stream)

    def _read_frame(self) -> Frame | None:
        """Read a frame and do what it requires."""
        header = self._reader.read(9)
        if len(header) < 9:
            return None
        frame, length = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(self._reader.read(length)))
        match frame:
            case HeadersFrame():
                status = dict(self._decoder.decode(frame.data))[":status"]
                self.bodies[frame.stream_id] = b""
                self._statuses[frame.stream_id] = int(status)
            case DataFrame():
                self.bodies[frame.stream_id] += frame.data
                if length:
                    self.send_frames(WindowUpdateFrame(0, window_increment=length))
            case RstStreamFrame():
                self._outcomes.setdefault(frame.stream_id, f"RST_STREAM {ErrorCodes(frame.error_code).name}")
            case WindowUpdateFrame():
                self._windows[frame.stream_id] += frame.window_increment
            case SettingsFrame() if "ACK" not in frame.flags:
                initial = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._initial_window)
                for stream in self._windows.keys() - {0}:
                    self._windows[stream] += initial - self._initial_window
                self._initial_window = initial
                self.send_frames(SettingsFrame(0, flags=["ACK"]))
            case PingFrame() if "ACK" not in frame.flags:
                self.send_frames(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        if "END_STREAM" in frame.flags:
            self._outcomes.setdefault(frame.stream_id, self._statuses[frame.stream_id])
        self.received.append(frame)
        return frame


def data(stream: int, body: bytes, *flags: str) -> DataFrame:
    """Return a DATA frame."""
    frame = DataFrame(stream, body)
    frame.flags |= set(flags)
    return frame
