"""Bodies of requests: read within limits of size, time and memory, and inflated."""

import asyncio
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from textgate.serving.errors import RequestError
from textgate.serving.rsgi_types import HttpProtocol

_BODY_SECONDS = 30.0
"""Time for a body to arrive."""
_SMALL_BODY_BYTES = 2**14
"""Largest body that is read at once, which is faster; the bytes of a larger one are counted as they arrive."""
_MAX_CHUNKS = 2**13
"""Number of chunks, or DATA frames, of a body: each costs about 60 µs, even an empty one."""
_MAX_EMPTY_CHUNKS = 16
"""Number of consecutive empty chunks; granian yields them without end for an HTTP/2 stream that was reset."""
_HELD_BODIES = 32
"""Total size of the bodies that are held at the same time, in bodies of the maximum size."""
_DISCARD_SECONDS, _DISCARD_BYTES = 5.0, 2**26
"""Limits within which the rest of a rejected body is discarded, so that the client can read the error (RFC 9112,
9.6)."""
_COMPRESSED = ("gzip", "x-gzip", "deflate")


class HeldBytes:
    """Bytes of one request's body among those that the server holds."""

    def __init__(self, reader: "BodyReader") -> None:
        self._reader = reader
        self._size = 0

    def add(self, size: int) -> None:
        """Count more bytes.

        Raises:
            RequestError: 429 if the server holds too many.
        """
        self._size += size
        self._reader.held_bytes += size
        if self._reader.held_bytes > _HELD_BODIES * self._reader.max_bytes:
            raise RequestError(429, "the server holds too many large requests: try again in 1 s", retry_after=1)

    def release(self) -> None:
        """Count the bytes no more."""
        self._reader.held_bytes -= self._size


class BodyReader:
    """Reader of bodies of at most ``max_bytes``, before and after inflating."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        """Bytes that have arrived for requests that are not answered yet; announced ones do not count."""

    @contextmanager
    def hold(self) -> Iterator[HeldBytes]:
        """Count the bytes of a request until the end of the context."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            held.release()

    async def read(self, headers: Mapping[str, str], version: str, protocol: HttpProtocol, held: HeldBytes) -> bytes:
        """Read and inflate the body of a request.

        Args:
            headers: Its headers; Content-Length is a number within the limit.
            version: Version of HTTP.
            protocol: Body as it arrives.
            held: Count of its bytes.

        Raises:
            RequestError: 400 if it is cut off or malformed; 408 if it takes too long; 413 if it is too large; 415 for
                an unknown compression; 429 if the server holds too many bytes; 501 for another transfer encoding.
        """
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in (*_COMPRESSED, "identity"):
            raise RequestError(
                415,
                f"the Content-Encoding {encoding[:50]!r} is not supported: use gzip or deflate",
                headers=[("accept-encoding", "gzip, deflate")],
            )
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise RequestError(501, "the only supported Transfer-Encoding is chunked; use Content-Encoding for gzip")
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._receive(headers, version, protocol, held)
        except TimeoutError as error:
            raise RequestError(408, f"the body did not arrive within {_BODY_SECONDS:.0f} s") from error
        except asyncio.CancelledError as error:  # by granian, when the server stops
            raise _cut_off() from error
        if encoding == "identity":
            return body
        inflated = await asyncio.to_thread(_inflate, body, self.max_bytes)
        held.add(len(inflated))
        return inflated

    async def _receive(
        self, headers: Mapping[str, str], version: str, protocol: HttpProtocol, held: HeldBytes
    ) -> bytes:
        """Return a body as it was sent."""
        length = int(headers["content-length"]) if "content-length" in headers else None
        if length is not None and length <= _SMALL_BODY_BYTES:
            try:
                body = await protocol()
            except RuntimeError as error:  # granian's RSGIProtocolClosed
                raise _cut_off() from error
            held.add(length)
            return body
        chunks: list[bytes] = []
        size = empty = 0
        async for chunk in protocol:
            size += len(chunk)
            if size > self.max_bytes:
                raise body_too_large(self.max_bytes)
            if len(chunks) == _MAX_CHUNKS:
                raise RequestError(413, f"the body has more than {_MAX_CHUNKS} chunks")
            empty = 0 if chunk else empty + 1
            if empty > _MAX_EMPTY_CHUNKS:
                raise _cut_off()
            chunks.append(chunk)
            held.add(len(chunk))
        if length is not None and size < length:
            raise _cut_off()
        # granian yields one empty chunk at the end, and another one before it for an error or a trailer section.
        if empty > 1 and version != "2":
            raise RequestError(400, "the chunked body is malformed, cut off, or has a trailer section")
        return b"".join(chunks)


async def discard(protocol: HttpProtocol) -> None:
    """Read and discard what is left of a body, if anything."""
    size = chunks = 0
    with suppress(RuntimeError):  # if reading has begun
        protocol.__aiter__()
    with suppress(StopAsyncIteration, TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while size < _DISCARD_BYTES and chunks < _MAX_CHUNKS and (chunk := await protocol.__anext__()):
                size += len(chunk)
                chunks += 1


def body_too_large(max_bytes: int) -> RequestError:
    """Return the error for a body over the size limit."""
    return RequestError(413, f"the body is larger than the limit of {max_bytes} bytes")


def _cut_off() -> RequestError:
    return RequestError(400, "the body ended before its announced length")


def _inflate(body: bytes, max_bytes: int) -> bytes:
    """Decompress a body.

    Raises:
        RequestError: 400 if it is not one complete gzip or zlib stream; 413 if it becomes larger than ``max_bytes``.
    """
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        inflated = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise RequestError(400, f"the compressed body cannot be read: {error}") from error
    if len(inflated) > max_bytes:
        raise body_too_large(max_bytes)
    if not stream.eof or stream.unused_data:
        raise RequestError(400, "the compressed body is not one complete gzip or zlib stream")
    return inflated
