"""Encoding of a text file: one for the whole file, taken from the recipe, from a byte order mark, or guessed.

``open_text`` opens a file as bytes whose lines end in a line feed byte, and says which encoding they have. Bytes that
the encoding does not have become lone surrogates, by which the readers reject the row.
"""

import codecs
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

UTF_8 = "utf-8"
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: UTF_8,
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WESTERN = "cp1252"
# The encodings of legacy files by the WHATWG Encoding Standard, without those that another one of the list includes.
_CANDIDATES = [
    *(_WESTERN, "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("gb18030", "big5", "cp932", "euc_jp", "cp949"),
]
# Chaos and coherence are charset-normalizer's measures between 0 and 1 of unlikely characters and of known words.
_CHAOS_TOLERANCE, _COHERENCE_TOLERANCE = 0.02, 0.005
_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_MARK_ERRORS = "textgate-mark-undecodable"


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udc80" * (error.end - error.start), error.end


codecs.register_error(_MARK_ERRORS, _mark_undecodable)


@dataclass(frozen=True)
class Encoding:
    """Encoding of one file."""

    name: str
    """Name of Python's codec."""
    is_guessed: bool = False
    """Whether neither the recipe nor a byte order mark says so, and the file is not UTF-8."""
    is_valid: bool = False
    """Whether the whole file is known to be decodable."""


def find_encoding(*paths: Path) -> Encoding:
    """Return the encoding of a file, or of several files that have the same one.

    The files are read to their ends, because an end may differ from a beginning.

    A byte order mark decides. Without one, a file is UTF-8 if all of it is, or if it has more multi-byte UTF-8
    characters than undecodable bytes: text in another encoding hardly ever looks like UTF-8, so a few undecodable bytes
    in UTF-8 are damage, and only their rows are rejected. Any other file has the encoding that charset-normalizer finds
    most likely in a sample of its lines, if the whole file can be decoded by it; otherwise it is read as UTF-8.
    """
    with open_binary(paths[0]) as file:
        start = file.read(4)
        for mark, name in _BYTE_ORDER_MARKS.items():
            if start.startswith(mark):
                return Encoding(name)
    if all(_is_decodable(path, UTF_8) for path in paths):
        return Encoding(UTF_8, is_valid=True)
    characters, broken, sample = _inspect_lines(paths)
    if characters <= broken:
        for name in _likely_encodings(sample):
            if all(_is_decodable(path, name) for path in paths):
                return Encoding(name, is_guessed=True, is_valid=True)
    return Encoding(UTF_8)


def open_text(path: Path, encoding: str) -> tuple[BinaryIO, str]:
    """Open a file for reading its lines as bytes.

    Args:
        path: The file; a ``.gz`` is unpacked.
        encoding: Name of a codec.

    Returns:
        The file, and the encoding of its bytes: UTF-8 if an encoding such as UTF-16, in which not every byte 10 is a
        line feed, was converted, otherwise ``encoding``.
    """
    file = open_binary(path)
    if _extends_ascii(encoding):
        return file, encoding
    return cast(BinaryIO, io.BufferedReader(_Utf8Stream(file, encoding), _CHUNK_BYTES)), UTF_8


def decoding_errors(encoding: str) -> str:
    """Return the name of the error handler that replaces undecodable bytes by lone surrogates."""
    return "surrogateescape" if encoding == UTF_8 else _MARK_ERRORS


def open_binary(path: Path) -> BinaryIO:
    """Open a file, unpacked if it is a ``.gz``."""
    return cast(BinaryIO, gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


class _Utf8Stream(io.RawIOBase):
    """Binary stream that converts a file to UTF-8; undecodable bytes become bytes that are not UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder(encoding)(_MARK_ERRORS)
        self._pending, self._at_end = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._pending and not self._at_end:
            chunk = self._file.read(_CHUNK_BYTES)
            self._at_end = not chunk
            text = self._decoder.decode(chunk, final=self._at_end)
            self._pending = text.encode(UTF_8, "surrogatepass")
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _extends_ascii(encoding: str) -> bool:
    ascii_bytes = bytes(range(128))
    return ascii_bytes.decode(encoding, "replace") == ascii_bytes.decode("ascii")


def _chunks(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _is_decodable(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _inspect_lines(paths: Sequence[Path]) -> tuple[int, int, bytes]:
    """Return the numbers of multi-byte UTF-8 characters and of undecodable bytes, and a sample of lines with either."""
    characters = broken = lines = 0
    sample: list[bytes] = []
    stride, size = 1, 0
    for line in chain.from_iterable(map(_lines, paths)):
        if line.isascii():
            continue
        ascii_count = len(line.decode("ascii", "ignore"))
        valid = len(line.decode(UTF_8, "ignore")) - ascii_count
        characters += valid
        broken += len(line.decode(UTF_8, "surrogateescape")) - ascii_count - valid
        if lines % stride == 0:
            sample.append(line)
            size += len(line)
        lines += 1
        if size > _SAMPLE_BYTES:
            # Every second line, so that the sample is spread evenly over the files.
            sample, stride = sample[::2], 2 * stride
            size = sum(map(len, sample))
    return characters, broken, b"".join(sample)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, long ones in parts."""
    with open_binary(path) as file:
        while line := file.readline(_SAMPLE_BYTES // 4):
            yield line


def _likely_encodings(sample: bytes) -> list[str]:
    """Return the names of possible encodings, the most likely one first; Windows-1252 comes first on a tie."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample, cp_isolation=_CANDIDATES, enable_fallback=False))
    names = list(dict.fromkeys(name for match in matches for name in match.could_be_from_charset))
    for match in matches:
        is_tie = (
            match.chaos <= matches[0].chaos + _CHAOS_TOLERANCE
            and match.coherence >= matches[0].coherence - _COHERENCE_TOLERANCE
        )
        if _WESTERN in match.could_be_from_charset and is_tie:
            return list(dict.fromkeys([_WESTERN, *names]))
    return names
