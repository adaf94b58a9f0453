"""Physical lines of a text file, each limited in length; accounting of rows starts here."""

from typing import BinaryIO

from textgate.components.ingest.raw_rows import has_surrogate
from textgate.components.ingest.rejection_reasons import OVER_LONG_LINE, UNDECODABLE
from textgate.components.ingest.text_encoding import decoding_errors

OVER_LONG_MARK = "\ud800"
"""First character of the line that replaces an over-long one. Decoding never yields it: see ``decoding_errors``."""
_MAX_TEXT_SHOWN = 200


class TextLines:
    """Reader of a binary file's lines as text.

    A line over the limit is skipped without being held in memory, and ``OVER_LONG_MARK`` is returned in its place, with
    a quote after it if the line had an odd number of quotes.
    """

    def __init__(
        self, file: BinaryIO, name: str, max_line_bytes: int, encoding: str, is_valid: bool, quote: str | None = '"'
    ) -> None:
        """Set up the reader.

        Args:
            file: The file, opened for reading.
            name: Name of the file in row ids and messages.
            max_line_bytes: Limit of a line.
            encoding: Encoding of the bytes; it includes ASCII.
            is_valid: Whether the whole file is known to be decodable.
            quote: Quote character to count in over-long lines; None if there is none.
        """
        self._file, self.name, self.max_line_bytes = file, name, max_line_bytes
        self._encoding, self._errors = encoding, decoding_errors(encoding)
        self._quote = quote.encode(encoding) if quote else None
        self.count = 0
        """Number of lines read so far."""
        self.has_marks = not is_valid
        """Whether a line may hold a lone surrogate, for undecodable bytes or an over-long line."""
        self._over_long_start = ""

    def read_line(self) -> str:
        """Return the next line with its line end, or the empty text at the end of the file."""
        line = self._file.readline(self.max_line_bytes + 1)
        if not line:
            return ""
        if not self.count:
            line = line.removeprefix(b"\xef\xbb\xbf") or b"\n"
        self.count += 1
        if len(line) <= self.max_line_bytes or line.endswith(b"\n"):
            return line.decode(self._encoding, self._errors)
        self.has_marks = True
        self._over_long_start = line[:_MAX_TEXT_SHOWN].decode(self._encoding, "replace")
        quotes = line.count(self._quote) if self._quote else 0
        while line and not line.endswith(b"\n"):
            line = self._file.readline(self.max_line_bytes + 1)
            quotes += line.count(self._quote) if self._quote else 0
        return OVER_LONG_MARK + (self._quote or b"").decode(self._encoding) * (quotes % 2) + "\n"

    def problem(self, text: str) -> str | None:
        """Return the reason to reject text from this reader, or None if it is usable."""
        if not self.has_marks or not has_surrogate(text):
            return None
        return OVER_LONG_LINE if OVER_LONG_MARK in text else UNDECODABLE

    def shown(self, text: str) -> str:
        """Return the text of a rejected row without line ends; of an over-long line, its beginning."""
        return (self._over_long_start if OVER_LONG_MARK in text else text).rstrip("\r\n")


def undecodable_column(text: str) -> int | None:
    """Return the position, from 1, of the first undecodable byte in a line; None if there is none."""
    return next((index for index, character in enumerate(text, 1) if "\udc80" <= character <= "\udcff"), None)
