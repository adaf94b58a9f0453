"""One file to raw records, one at a time, in memory for one row at most."""

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
from textgate.components.ingest.reasons import NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE
from textgate.components.ingest.records import (
    COLUMNS_COMPARED,
    RawRow,
    require_columns,
    require_unique,
    storable_name,
    surrogate_in,
)

FORMATS = "CSV, TSV, JSONL, any of them with .gz, Parquet, or a folder of them or of one folder of .txt files a class"
_TABLES = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_WIDTHS_NAMED = 5
# Bounds the time a file full of stray quotes can take.
_MOST_TIMES_READ_AGAIN = 8
_PARQUET_BATCH_ROWS = 256
_PARQUET_BUFFER_BYTES = 1 << 20
# Never comes of decoding, which makes no surrogate below U+DC80.
_OVER_LONG_MARK = "\ud800"


def read_file(
    path: Path, limit: int, wanted: Sequence[str], required: Sequence[str], columns: Sequence[str] | None = None
) -> Iterator[RawRow]:
    """The records of a CSV, TSV, JSONL or Parquet file, each with at least those of its columns that are ``wanted``.

    ``columns`` names the columns of a CSV or TSV without a header row; ``limit`` bounds a row, in bytes.

    Raises:
        InputError: an unknown format, a damaged file, or a file without a column that is ``required``.
    """
    suffix = _format(path)
    if suffix == ".parquet" and not _packed(path):
        yield from _parquet(path, wanted, required)
        return
    if suffix not in _TABLES and suffix not in _JSON_LINES:
        raise InputError(f"the format of {path} is not known by its name: {FORMATS} can be read")
    with damage_explained(path), gzip.open(path) if _packed(path) else path.open("rb") as file:
        lines = _Lines(file, storable_name(path), limit)
        if suffix in _JSON_LINES:
            yield from _json_lines(lines, required)
        else:
            yield from _table(lines, _TABLES[suffix], required, columns)


def is_table(path: Path) -> bool:
    """Whether a file is CSV or TSV by its name."""
    return _format(path) in _TABLES


def _format(path: Path) -> str:
    endings = path.name.lower().split(".")[1:]
    if _packed(path):
        endings.pop()
    return f".{endings[-1]}" if endings else ""


def _packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Raise InputError where what is read in the body cannot be."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: it cannot be unpacked to its end ({error})") from error
    except pa.ArrowException as error:
        raise InputError(f"{path} is damaged: it is not readable as Parquet ({str(error).splitlines()[0]})") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


class _BrokenRowError(Exception):
    """A quote opened in this row is not closed within the limit, or not at all; the reason is its message."""


class _Lines:
    """A binary file's lines as text, and as an iterator what ``csv.reader`` reads its rows from.

    A line over the limit is read past and never held: ``_OVER_LONG_MARK`` stands in its place, after a quote when it
    had an odd number of them, so that a quoted field it began or ended still ends where it should.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile, name: str, limit: int) -> None:
        self._file, self.name, self.limit = file, name, limit
        self._first = True
        self._row: list[str] = []
        self._row_length = 0
        self._given_back: list[str] = []
        self._length_read = self._length_given_back = 0

    def read_line(self) -> str:
        """The next line with its end, or nothing at the end of the file."""
        line = self._file.readline(self.limit + 1)
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if len(line) <= self.limit or line.endswith(b"\n"):
            return line.decode("utf-8", "surrogateescape")
        quotes = line.count(b'"')
        while line and not line.endswith(b"\n"):
            line = self._file.readline(self.limit + 1)
            quotes += line.count(b'"')
        return '"' * (quotes % 2) + _OVER_LONG_MARK + "\n"

    def begin_row(self) -> None:
        """Count the row's length from here."""
        self._row, self._row_length = [], 0

    def give_back(self) -> None:
        """Read all lines of the row but the first again, so that a stray quote costs one row and not those after it."""
        if self._length_given_back < _MOST_TIMES_READ_AGAIN * self._length_read:
            self._length_given_back += self._row_length
            self._given_back.extend(reversed(self._row[1:]))

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._given_back:
            line = self._given_back.pop()
        else:
            line = self.read_line()
            self._length_read += len(line)
        if not line:
            if self._row:
                raise _BrokenRowError(NOT_A_RECORD)
            raise StopIteration
        self._row.append(line)
        self._row_length += len(line)
        if len(self._row) > 1 and self._row_length > self.limit:
            raise _BrokenRowError(OVER_LONG_LINE)
        return line


def _flaw(text: str) -> str | None:
    """Why a line or row as ``_Lines`` gives it cannot be used."""
    if not surrogate_in(text):
        return None
    return OVER_LONG_LINE if _OVER_LONG_MARK in text else UNDECODABLE


def _table(lines: _Lines, delimiter: str, required: Sequence[str], columns: Sequence[str] | None) -> Iterator[RawRow]:
    """CSV or TSV with a header row, or with ``columns`` in its place."""
    csv.field_size_limit(lines.limit)
    rows = _table_rows(lines, delimiter)
    names = columns or _header(rows, lines)
    require_columns(required, names, lines.name)
    widths: set[int] = set()
    for number, fields in enumerate(rows, 1):
        if isinstance(fields, str):
            yield RawRow(f"{lines.name}:{number}", None, fields)
            continue
        widths.add(len(fields))
        if len(fields) != len(names):
            yield RawRow(f"{lines.name}:{number}", None, NOT_A_RECORD)
        else:
            yield RawRow(f"{lines.name}:{number}", dict(zip(names, fields, strict=True)))
    if columns and widths and len(columns) not in widths:
        raise InputError(
            f"no row of {lines.name} has {len(columns)} columns, as are named for it ({', '.join(columns)}), "
            f"but {', '.join(map(str, sorted(widths)[:_WIDTHS_NAMED]))}"
        )


def _header(rows: Iterator[list[str] | str], lines: _Lines) -> list[str]:
    header = next(rows, None)
    if header is None:
        raise InputError(f"{lines.name} has no header row: its first line must name the columns")
    if isinstance(header, str):
        raise InputError(
            f"the header of {lines.name} cannot be read ({header}): its first line must name the columns in UTF-8, "
            f"within source.max_line_bytes={lines.limit:,}"
        )
    require_unique(header, lines.name)
    return header


def _table_rows(lines: _Lines, delimiter: str) -> Iterator[list[str] | str]:
    """The fields of every row that is not blank, or the reason why they cannot be had."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.begin_row()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # A carriage return inside an unquoted field.
            yield NOT_A_RECORD
        except _BrokenRowError as broken:
            lines.give_back()
            yield str(broken)
        else:
            if fields:
                yield _flaw("".join(fields)) or fields


def _json_lines(lines: _Lines, required: Sequence[str]) -> Iterator[RawRow]:
    """One JSON object a line; a column may be missing in some of them, but not in all."""
    number = 0
    missing = set(required)
    known: dict[str, None] = {}
    objects = False
    for line in iter(lines.read_line, ""):
        if not line.strip():
            continue
        number += 1
        reason, record = _flaw(line), None
        if reason is None:
            with suppress(ValueError, RecursionError):
                record = json.loads(line)
        if isinstance(record, dict):
            objects = True
            missing -= record.keys()
            if len(known) < COLUMNS_COMPARED:
                known.update(dict.fromkeys(record))
            yield RawRow(f"{lines.name}:{number}", record)
        else:
            yield RawRow(f"{lines.name}:{number}", None, reason or NOT_A_RECORD)
    if objects:
        require_columns([column for column in required if column in missing], list(known), lines.name)


def _parquet(path: Path, wanted: Sequence[str], required: Sequence[str]) -> Iterator[RawRow]:
    name, number = storable_name(path), 0
    # With pre_buffer, the default, a whole row group is held: of a file written in one piece, all of it.
    with (
        damage_explained(path),
        pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER_BYTES) as file,
    ):
        names = file.schema_arrow.names
        require_unique(names, name)
        require_columns(required, names, name)
        found = [column for column in wanted if column in names]
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=found):
            for columns in _rows_of(batch):
                number += 1
                yield RawRow(f"{name}:{number}", columns, "" if columns else UNDECODABLE)


def _rows_of(batch: pa.RecordBatch) -> Iterable[dict[str, Any] | None]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        # A string column may hold any bytes; only the rows that do are lost.
        for number in range(batch.num_rows):
            try:
                yield batch.slice(number, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None
