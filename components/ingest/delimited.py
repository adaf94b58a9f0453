"""Reader of delimited text: CSV with quotes (RFC 4180) and TSV without (IANA text/tab-separated-values).

Every physical line belongs to the header, to one row, or is blank. A row spans several lines only if a field is quoted
properly. A row whose quotes are broken is rejected, and reading goes on with the line after its first one.
"""

import csv
import re
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from textgate.components.contracts import InputError
from textgate.components.ingest.raw_rows import RawRow, require_columns, require_unique_columns
from textgate.components.ingest.rejection_reasons import BROKEN_QUOTE, NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE
from textgate.components.ingest.text_lines import OVER_LONG_MARK, TextLines, undecodable_column

_MAX_WIDTHS_SHOWN = 5
# Limits the lines read twice behind broken quotes, as a multiple of the lines read once.
_MAX_REREAD_FACTOR = 8


def read_delimited(
    lines: TextLines,
    delimiter: str,
    quote: str | None,
    required: Sequence[str],
    columns: Sequence[str] | None = None,
    skip_header: bool = False,
) -> Generator[RawRow, None, int]:
    """Yield the rows of a delimited file that are not blank.

    After a broken quote, a line is rejected too if it has an odd number of quotes or the wrong number of fields,
    because it is likely to be the rest of a text with line breaks; the first other line is a row again.

    Args:
        lines: Lines of the file.
        delimiter: Character between fields.
        quote: Quote character; None if there are no quotes.
        required: Columns that must exist.
        columns: Column names, instead of the header's.
        skip_header: Whether there is a header row although ``columns`` are given.

    Returns:
        Number of rows.

    Raises:
        InputError: The header cannot be read, a column is missing, or no row has the number of columns given.
    """
    records = _QuotedLines(lines, quote).split(delimiter) if quote else _split_plain(lines, delimiter)
    names = _read_header(records, lines) if columns is None or skip_header else []
    names = names if columns is None else list(columns)
    require_columns(required, names, lines.name)
    width, widths = len(names), set[int]()
    follows_break = False
    number = 0
    for number, record in enumerate(records, 1):
        row_id, fields, line = f"{lines.name}:{number}", record.fields, record.line
        if record.reason:
            follows_break |= record.reason in (BROKEN_QUOTE, OVER_LONG_LINE)
            known = dict(zip(names, fields, strict=True)) if len(fields) == width else None
            yield RawRow(row_id, None, record.reason, line, record.column, record.text, known)
        elif follows_break and quote and record.text.count(quote) % 2:
            yield RawRow(row_id, None, BROKEN_QUOTE, line, None, lines.shown(record.text))
        elif len(fields) != width:
            widths.add(len(fields))
            yield RawRow(row_id, None, NOT_A_RECORD, line, None, lines.shown(record.text))
        else:
            follows_break = False
            widths.add(width)
            yield RawRow(row_id, dict(zip(names, fields, strict=True)), "", line)
    if columns and widths and width not in widths:
        raise InputError(
            f"no row of {lines.name} has {width} columns, as are named for it ({', '.join(columns)}), "
            f"but {', '.join(map(str, sorted(widths)[:_MAX_WIDTHS_SHOWN]))}"
        )
    return number


class _Record(NamedTuple):
    line: int
    """Number of the first line, from 1."""
    fields: list[str]
    """The fields; of a record that cannot be read, those of a record with undecodable bytes, or none."""
    text: str
    """The lines; without line ends if the record cannot be read."""
    reason: str = ""
    """Reason why the record cannot be read."""
    column: int | None = None
    """Position in the line, from 1, of what cannot be read; None if it is not known."""


def _read_header(records: Iterator[_Record], lines: TextLines) -> list[str]:
    header = next(records, None)
    if header is None:
        raise InputError(f"{lines.name} has no header row: its first line must name the columns")
    if header.reason:
        raise InputError(
            f"the header of {lines.name} cannot be read ({header.reason}): its first line must name the columns in "
            "UTF-8, or the encoding that source.format.encoding names, "
            f"within source.max_line_bytes={lines.max_line_bytes:,}"
        )
    require_unique_columns(filter(None, header.fields), lines.name)
    return header.fields


def _split_plain(lines: TextLines, delimiter: str) -> Iterator[_Record]:
    """Yield one record per line that is not blank; quotes have no meaning."""
    for line in iter(lines.read_line, ""):
        content = line.removesuffix("\n").removesuffix("\r")
        if not content:
            continue
        if reason := lines.problem(content):
            fields = content.split(delimiter) if reason == UNDECODABLE else []
            yield _Record(lines.count, fields, lines.shown(line), reason, undecodable_column(content))
        elif "\r" in content:
            yield _Record(lines.count, [], content, NOT_A_RECORD, content.index("\r") + 1)
        else:
            yield _Record(lines.count, content.split(delimiter), content)


class _UnclosedQuoteError(Exception):
    """A quote opened in this record is not closed within the limit; the message is the reason."""


class _QuotedLines:
    """Lines as ``csv.reader`` takes them, which can be given back behind a broken quote.

    ``csv.reader`` asks for a second line of a record only inside a quoted field.
    """

    def __init__(self, lines: TextLines, quote: str) -> None:
        self._lines, self._read_line, self._quote = lines, lines.read_line, quote
        self._max_length = lines.max_line_bytes
        self._record: list[str] = []
        self._record_length = 0
        self._unread: list[str] = []
        self._length_read = self._length_unread = 0

    def __iter__(self) -> "_QuotedLines":
        return self

    def __next__(self) -> str:
        if self._unread or self._record:
            return self._next_of_several()
        line = self._read_line()
        if not line:
            raise StopIteration
        self._length_read += len(line)
        self._record_length = len(line)
        self._record.append(line)
        return self._opening(line) if line[0] == OVER_LONG_MARK else line

    def _next_of_several(self) -> str:
        is_inside = bool(self._record)
        if is_inside and self._length_unread > _MAX_REREAD_FACTOR * self._length_read:
            raise _UnclosedQuoteError(BROKEN_QUOTE)
        if self._unread:
            line = self._unread.pop()
        else:
            line = self._read_line()
            self._length_read += len(line)
        if not line:
            raise StopIteration
        self._record.append(line)
        self._record_length += len(line)
        if is_inside and self._record_length > self._max_length:
            raise _UnclosedQuoteError(OVER_LONG_LINE)
        return self._opening(line) if line[0] == OVER_LONG_MARK and not is_inside else line

    def _opening(self, line: str) -> str:
        """Return the replacement of an over-long line such that its odd quote opens a field."""
        return self._quote + OVER_LONG_MARK + "\n" if self._quote in line else line

    def _give_back(self) -> str:
        """Return all lines of the record but the first to the input; return the first."""
        self._length_unread += self._record_length - len(self._record[0])
        self._unread.extend(reversed(self._record[1:]))
        return self._record[0]

    def split(self, delimiter: str) -> Iterator[_Record]:
        """Yield the records that are not blank."""
        csv.field_size_limit(self._max_length)
        reader = csv.reader(self, delimiter=delimiter, quotechar=self._quote, strict=True)
        while True:
            self._record = []
            line = self._lines.count - len(self._unread) + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except (csv.Error, _UnclosedQuoteError) as error:
                text = self._give_back()
                column = _broken_quote_column(text, delimiter, self._quote)
                # A carriage return outside quotes is an error, too.
                reason = self._lines.problem(text) or (BROKEN_QUOTE if column else NOT_A_RECORD)
                if isinstance(error, _UnclosedQuoteError):
                    reason = str(error)
                yield _Record(line, [], self._lines.shown(text), reason, column)
                continue
            if not fields:
                continue
            text = self._record[0] if len(self._record) == 1 else "".join(self._record)
            if self._lines.has_marks and (problem := self._lines.problem(text)):
                column = undecodable_column(text) if len(self._record) == 1 else None
                known = fields if problem == UNDECODABLE else []
                yield _Record(line, known, self._lines.shown(text), problem, column)
            else:
                yield _Record(line, fields, text)


def _broken_quote_column(line: str, delimiter: str, quote: str) -> int | None:
    """Return the position, from 1, of the character after a closing quote, or of the quote that is not closed.

    None if neither exists in the line.
    """
    mark = re.escape(quote)
    quoted = re.compile(f"{mark}(?:[^{mark}]|{mark}{mark})*+{mark}(?!{mark})")
    position = 0
    while True:
        if line.startswith(quote, position):
            match = quoted.match(line, position)
            if match is None:
                return position + 1
            position = match.end()
            if line[position : position + 1] not in (delimiter, "\r", "\n", ""):
                return position + 1
        position = line.find(delimiter, position) + 1
        if not position:
            return None
