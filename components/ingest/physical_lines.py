"""Lines of a text file, for the layouts in which a line is a value or a record of its own."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import InputError
from textgate.components.ingest.raw_rows import has_surrogate
from textgate.components.ingest.rejection_reasons import OVER_LONG_LINE, UNDECODABLE


class TextLine(NamedTuple):
    r"""One physical line, without its end (\n or \r\n)."""

    text: str
    """Empty if the line is too long; undecodable bytes are lone surrogates (``surrogateescape``)."""
    reason: str = ""
    """Reason why the line cannot be used; empty if it can."""


def read_lines(path: Path, encoding: str, max_line_bytes: int) -> Iterator[TextLine]:
    r"""Yield the lines of a text file; one line is in memory at a time.

    Only \n ends a line. Other characters that ``str.splitlines`` splits at, such as \r, \x0b and U+2028, are text.

    Args:
        path: Text file; a name that ends in ``.gz`` is unpacked.
        encoding: Encoding of the file; a byte order mark is dropped.
        max_line_bytes: Limit of a line; a longer one is skipped.

    Raises:
        InputError: The file is not in this encoding from some line on.
        OSError, EOFError, zlib.error: The file cannot be read; see ``file_errors``.
    """
    number = 0
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        text = io.TextIOWrapper(file, codec, errors="surrogateescape", newline="\n")
        try:
            while line := text.readline(max_line_bytes + 1):
                number += 1
                yield _text_line(line, text, encoding, max_line_bytes)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not encoded in {encoding} after line {number:,}: set source.format.encoding"
            ) from error


def _text_line(line: str, rest: io.TextIOWrapper, encoding: str, max_line_bytes: int) -> TextLine:
    if not line.endswith("\n") and len(line) > max_line_bytes:
        while line and not line.endswith("\n"):
            line = rest.readline(max_line_bytes + 1)
        return TextLine("", OVER_LONG_LINE)
    line = line.removesuffix("\n").removesuffix("\r")
    # A character takes 4 bytes at most.
    if len(line) * 4 > max_line_bytes and len(line.encode(encoding, "surrogateescape")) > max_line_bytes:
        return TextLine("", OVER_LONG_LINE)
    return TextLine(line, UNDECODABLE if has_surrogate(line) else "")
