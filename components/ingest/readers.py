"""Files and folders to raw records, one at a time, in memory for one row at most.

Every reader yields ``Record``: an id that says where the row stands, and either its columns or why it has none.
"""

import csv
import difflib
import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.reasons import NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE

_TEXT_FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson")
_FORMATS = "CSV, TSV, JSONL, any of them with .gz, Parquet, or a folder of them or of one folder of .txt files a class"
_COLUMNS_NAMED = 20
_COLUMNS_COMPARED = 1_000
# Bounds the time a file full of stray quotes can take.
_MOST_TIMES_READ_AGAIN = 8
_PARQUET_BATCH_ROWS = 256
_PARQUET_BUFFER_BYTES = 1 << 20
# Bytes that are not UTF-8 are decoded to U+DC80 to U+DCFF (surrogateescape); U+D800 never comes of decoding.
_SURROGATE = re.compile("[\ud800-\udfff]")
_OVER_LONG_MARK = "\ud800"


class Record(NamedTuple):
    """One row as the source has it."""

    id: str
    """``file:row``, counted from 1; ``class/file`` in a folder of one folder a class."""
    columns: dict[str, Any] | None
    """None where the row could not be read."""
    reason: str = ""
    """Why not."""


def read(path: Path, source: Source, wanted: Sequence[str]) -> Iterator[Record]:
    """The records of a file, or of every file of a folder in order of their names.

    In a folder of one folder a class, ``source.text`` is a file's content and ``source.label`` its folder's name.

    Raises:
        InputError: an unknown format, a damaged file, or a file without a column that is ``wanted``.
    """
    if path.is_dir():
        visible = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
        classes = [folder for folder in visible if folder.is_dir() and _texts(folder)]
        if classes:
            require_columns(wanted, [source.text, source.label], _storable_name(path))
            yield from _class_folders(classes, source)
            return
        files = [file for file in visible if file.is_file()]
        if not files:
            raise InputError(f"the folder {path} holds no file: {_FORMATS} can be read")
    else:
        files = [path]
    for file in files:
        yield from _file(file, source.max_line_bytes, wanted)


def require_columns(wanted: Iterable[str], known: Sequence[str], where: str) -> None:
    """Raise InputError on the first column that ``where`` lacks, naming the nearest one it has."""
    names = set(known)
    for column in wanted:
        if column not in names:
            shown = [_printable(name) for name in known[:_COLUMNS_NAMED]]
            if len(known) > _COLUMNS_NAMED:
                shown.append(f"{len(known) - _COLUMNS_NAMED:,} more")
            nearest = difflib.get_close_matches(column, known[:_COLUMNS_COMPARED], n=1, cutoff=0.0)
            guess = f"; did you mean {nearest[0]!r}? It has {', '.join(shown)}" if nearest else ": it has no columns"
            raise InputError(f"no column {column!r} in {where}{guess}")


def surrogate_in(text: str) -> bool:
    """Whether a text holds what was no UTF-8, or half of a pair that JSON escaped: neither can be stored."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def _printable(name: str) -> str:
    return " ".join(name.split()).encode("utf-8", "backslashreplace").decode("utf-8")


def _storable_name(path: Path) -> str:
    return os.fsencode(path.name).decode("utf-8", "replace")


def _file(path: Path, max_line_bytes: int, wanted: Sequence[str]) -> Iterator[Record]:
    suffixes = path.name.lower().split(".")[1:]
    packed = suffixes[-1:] == ["gz"]
    suffix = f".{suffixes[-2 if packed else -1]}" if len(suffixes) > packed else ""
    if suffix == ".parquet" and not packed:
        yield from _parquet(path, wanted)
        return
    if suffix not in _TEXT_FORMATS:
        raise InputError(f"the format of {path} is not known by its name: {_FORMATS} can be read")
    with _damage_explained(path), gzip.open(path) if packed else path.open("rb") as file:
        lines = _Lines(file, _storable_name(path), max_line_bytes)
        if suffix in (".jsonl", ".ndjson"):
            yield from _json_lines(lines, wanted)
        else:
            yield from _table(lines, "\t" if suffix == ".tsv" else ",", wanted)


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
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


def _table(lines: _Lines, delimiter: str, wanted: Sequence[str]) -> Iterator[Record]:
    """CSV or TSV with a header row."""
    csv.field_size_limit(lines.limit)
    rows = _table_rows(lines, delimiter)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{lines.name} has no header row: its first line must name the columns")
    if isinstance(header, str):
        raise InputError(
            f"the header of {lines.name} cannot be read ({header}): its first line must name the columns in UTF-8, "
            f"within source.max_line_bytes={lines.limit:,}"
        )
    _require_unique(header, lines.name)
    require_columns(wanted, header, lines.name)
    for number, fields in enumerate(rows, 1):
        if isinstance(fields, str):
            yield Record(f"{lines.name}:{number}", None, fields)
        elif len(fields) != len(header):
            yield Record(f"{lines.name}:{number}", None, NOT_A_RECORD)
        else:
            yield Record(f"{lines.name}:{number}", dict(zip(header, fields, strict=True)))


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


def _require_unique(names: Iterable[str], where: str) -> None:
    repeated = [repr(name) for name, count in sorted(Counter(names).items()) if count > 1]
    if repeated:
        raise InputError(f"the header of {where} names {', '.join(repeated[:_COLUMNS_NAMED])} more than once")


def _json_lines(lines: _Lines, wanted: Sequence[str]) -> Iterator[Record]:
    """One JSON object a line; a column may be missing in some of them, but not in all."""
    number = 0
    missing = set(wanted)
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
            if len(known) < _COLUMNS_COMPARED:
                known.update(dict.fromkeys(record))
            yield Record(f"{lines.name}:{number}", record)
        else:
            yield Record(f"{lines.name}:{number}", None, reason or NOT_A_RECORD)
    if objects:
        require_columns([column for column in wanted if column in missing], list(known), lines.name)


def _parquet(path: Path, wanted: Sequence[str]) -> Iterator[Record]:
    name, number = _storable_name(path), 0
    # With pre_buffer, the default, a whole row group is held: of a file written in one piece, all of it.
    with (
        _damage_explained(path),
        pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER_BYTES) as file,
    ):
        _require_unique(file.schema_arrow.names, name)
        require_columns(wanted, file.schema_arrow.names, name)
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=list(wanted)):
            for columns in _rows_of(batch):
                number += 1
                yield Record(f"{name}:{number}", columns, "" if columns else UNDECODABLE)


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


def _texts(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.txt") if file.is_file() and not file.name.startswith("."))


def _class_folders(classes: list[Path], source: Source) -> Iterator[Record]:
    for folder in classes:
        for file in _texts(folder):
            identity = f"{_storable_name(folder)}/{_storable_name(file)}"
            with _damage_explained(file), file.open("rb") as opened:
                content = opened.read(source.max_line_bytes + 1)
            if len(content) > source.max_line_bytes:
                yield Record(identity, None, OVER_LONG_LINE)
                continue
            try:
                yield Record(identity, {source.text: content.decode("utf-8-sig"), source.label: folder.name})
            except UnicodeDecodeError:
                yield Record(identity, None, UNDECODABLE)
