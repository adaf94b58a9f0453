"""Readers of one file in CSV, TSV, JSON Lines or Parquet; they stream, and hold about one row in memory."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError
from textgate.components.contracts.recipe.source import FileFormat
from textgate.components.ingest.line_pattern import read_pattern
from textgate.components.ingest.raw_rows import (
    MAX_KNOWN_COLUMNS,
    RawRow,
    has_surrogate,
    printable_name,
    require_columns,
    require_unique_columns,
)
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE
from textgate.components.ingest.workbook import WORKBOOK_SUFFIXES, read_workbook

FORMATS = "CSV, TSV, JSONL, any of them with .gz, Parquet, .xlsx, .ods, or a folder of them or of one folder of .txt files a class"
"""Supported formats, for error messages."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
_MAX_WIDTHS_SHOWN = 5
# Limits the time spent on a file full of stray quotes, as a multiple of one pass over the file.
_MAX_REREAD_FACTOR = 8
_PARQUET_BATCH_ROWS = 256
_PARQUET_BUFFER_BYTES = 1 << 20
# Decoding never yields this surrogate: surrogateescape starts at U+DC80.
_OVER_LONG_MARK = "\ud800"


def read_file(
    path: Path,
    max_line_bytes: int,
    columns: Sequence[str],
    required: Sequence[str],
    header: Sequence[str] | None = None,
    file_format: FileFormat | None = None,
) -> Iterator[RawRow]:
    """Yield the rows of a file; its format is recognized by its name.

    Args:
        path: CSV, TSV, JSONL or Parquet file.
        max_line_bytes: Limit of a row.
        columns: Columns to read; rows may have others too.
        required: Columns that must exist.
        header: Column names of a CSV or TSV without a header row.
        file_format: Format of the file, as far as its name does not say it.

    Raises:
        InputError: The format is unknown, the file is damaged, or a required column is missing.
    """
    file_format = file_format or FileFormat()
    suffix = _format_suffix(path)
    if file_format.pattern:
        with file_errors(path):
            yield from read_pattern(
                path, file_format.pattern, file_format.encoding or "utf-8", max_line_bytes, required
            )
        return
    if suffix in WORKBOOK_SUFFIXES:
        with file_errors(path):
            yield from read_workbook(path, required, header, not header, file_format.sheet)
        return
    if suffix == ".parquet" and not _is_gzip(path):
        yield from _read_parquet(path, columns, required)
        return
    if suffix not in _DELIMITERS and suffix not in _JSON_LINES_SUFFIXES:
        raise InputError(f"the format of {path} is not known by its name: {FORMATS} can be read")
    with file_errors(path), gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        lines = _LineReader(file, printable_name(path), max_line_bytes)
        if suffix in _JSON_LINES_SUFFIXES:
            yield from _read_json_lines(lines, required)
        else:
            yield from _read_delimited(lines, _DELIMITERS[suffix], required, header)


def is_delimited(path: Path) -> bool:
    """Return whether a file is CSV or TSV by its name."""
    return _format_suffix(path) in _DELIMITERS


def _format_suffix(path: Path) -> str:
    suffixes = path.name.lower().split(".")[1:]
    if _is_gzip(path):
        suffixes.pop()
    return f".{suffixes[-1]}" if suffixes else ""


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Raise InputError for errors of reading a file."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: it cannot be unpacked to its end ({error})") from error
    except pa.ArrowException as error:
        raise InputError(f"{path} is damaged: it is not readable as Parquet ({str(error).splitlines()[0]})") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


class _MalformedRowError(Exception):
    """A quote opened in this row is not closed within the limit, or not at all; the message is the reason."""


class _LineReader:
    """Lines of a binary file as text; as an iterator it feeds ``csv.reader``.

    A line over the limit is skipped without being held in memory, and ``_OVER_LONG_MARK`` is returned in its place. A
    quote precedes the mark if the line had an odd number of quotes, so that a quoted field which begins or ends in the
    line still ends at the right place.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile, name: str, max_line_bytes: int) -> None:
        self._file, self.name, self.max_line_bytes = file, name, max_line_bytes
        self._is_first_line = True
        self._row: list[str] = []
        self._row_length = 0
        self._unread: list[str] = []
        self._length_read = self._length_unread = 0

    def read_line(self) -> str:
        """Return the next line with its line end, or the empty text at the end of the file."""
        line = self._file.readline(self.max_line_bytes + 1)
        if self._is_first_line:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._is_first_line = False
        if len(line) <= self.max_line_bytes or line.endswith(b"\n"):
            return line.decode("utf-8", "surrogateescape")
        quotes = line.count(b'"')
        while line and not line.endswith(b"\n"):
            line = self._file.readline(self.max_line_bytes + 1)
            quotes += line.count(b'"')
        return '"' * (quotes % 2) + _OVER_LONG_MARK + "\n"

    def start_row(self) -> None:
        """Reset the count of the row's length."""
        self._row, self._row_length = [], 0

    def unread_row(self) -> None:
        """Return all lines of the row but the first to the input, so that a stray quote costs one row only."""
        if self._length_unread < _MAX_REREAD_FACTOR * self._length_read:
            self._length_unread += self._row_length
            self._unread.extend(reversed(self._row[1:]))

    def __iter__(self) -> "_LineReader":
        return self

    def __next__(self) -> str:
        if self._unread:
            line = self._unread.pop()
        else:
            line = self.read_line()
            self._length_read += len(line)
        if not line:
            if self._row:
                raise _MalformedRowError(NOT_A_RECORD)
            raise StopIteration
        self._row.append(line)
        self._row_length += len(line)
        if len(self._row) > 1 and self._row_length > self.max_line_bytes:
            raise _MalformedRowError(OVER_LONG_LINE)
        return line


def _encoding_problem(text: str) -> str | None:
    """Return the reason to reject text from ``_LineReader``, or None if it is usable."""
    if not has_surrogate(text):
        return None
    return OVER_LONG_LINE if _OVER_LONG_MARK in text else UNDECODABLE


def _read_delimited(
    lines: _LineReader, delimiter: str, required: Sequence[str], header: Sequence[str] | None
) -> Iterator[RawRow]:
    csv.field_size_limit(lines.max_line_bytes)
    rows = _split_fields(lines, delimiter)
    names = header or _read_header(rows, lines)
    require_columns(required, names, lines.name)
    widths: set[int] = set()
    for number, fields in enumerate(rows, 1):
        row_id = f"{lines.name}:{number}"
        if isinstance(fields, str):
            yield RawRow(row_id, None, fields)
            continue
        widths.add(len(fields))
        if len(fields) != len(names):
            yield RawRow(row_id, None, NOT_A_RECORD)
        else:
            yield RawRow(row_id, dict(zip(names, fields, strict=True)))
    if header and widths and len(header) not in widths:
        raise InputError(
            f"no row of {lines.name} has {len(header)} columns, as are named for it ({', '.join(header)}), "
            f"but {', '.join(map(str, sorted(widths)[:_MAX_WIDTHS_SHOWN]))}"
        )


def _read_header(rows: Iterator[list[str] | str], lines: _LineReader) -> list[str]:
    header = next(rows, None)
    if header is None:
        raise InputError(f"{lines.name} has no header row: its first line must name the columns")
    if isinstance(header, str):
        raise InputError(
            f"the header of {lines.name} cannot be read ({header}): its first line must name the columns in UTF-8, "
            f"within source.max_line_bytes={lines.max_line_bytes:,}"
        )
    require_unique_columns(header, lines.name)
    return header


def _split_fields(lines: _LineReader, delimiter: str) -> Iterator[list[str] | str]:
    """Yield the fields of every row that is not blank, or the reason why the row is rejected."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.start_row()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # A carriage return inside an unquoted field.
            yield NOT_A_RECORD
        except _MalformedRowError as error:
            lines.unread_row()
            yield str(error)
        else:
            if fields:
                yield _encoding_problem("".join(fields)) or fields


def _read_json_lines(lines: _LineReader, required: Sequence[str]) -> Iterator[RawRow]:
    """Yield one row per JSON object; a required column must exist in at least one of them."""
    number = 0
    missing = set(required)
    known: dict[str, None] = {}
    has_objects = False
    for line in iter(lines.read_line, ""):
        if not line.strip():
            continue
        number += 1
        reason, value = _encoding_problem(line), None
        if reason is None:
            with suppress(ValueError, RecursionError):
                value = json.loads(line)
        if isinstance(value, dict):
            has_objects = True
            missing -= value.keys()
            if len(known) < MAX_KNOWN_COLUMNS:
                known.update(dict.fromkeys(value))
            yield RawRow(f"{lines.name}:{number}", value)
        else:
            yield RawRow(f"{lines.name}:{number}", None, reason or NOT_A_RECORD)
    if has_objects:
        require_columns([column for column in required if column in missing], list(known), lines.name)


def _read_parquet(path: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[RawRow]:
    name, number = printable_name(path), 0
    # pre_buffer, the default, would hold a whole row group in memory, which may be the whole file.
    with (
        file_errors(path),
        pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER_BYTES) as file,
    ):
        names = file.schema_arrow.names
        require_unique_columns(names, name)
        require_columns(required, names, name)
        existing = [column for column in columns if column in names]
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=existing):
            for row in _batch_rows(batch):
                number += 1
                yield RawRow(f"{name}:{number}", row, "" if row else UNDECODABLE)


def _batch_rows(batch: pa.RecordBatch) -> Iterable[dict[str, Any] | None]:
    """Yield the rows of a batch, or None for a row with a string that is not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None
