"""Files and folders to raw records, one at a time, in memory for one line at most.

Every reader yields ``Record``: an id that says where the row stands, and either its columns or why it has none.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError
from textgate.components.ingest.reasons import NOT_A_RECORD, OVER_LONG_LINE, UNDECODABLE

_TEXT_FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson")
_FORMATS = "CSV, TSV, JSONL, any of them with .gz, Parquet, or a folder of them or of one folder of .txt files a class"


class Record(NamedTuple):
    """One row as the source has it."""

    id: str
    """``file:row``, counted from 1."""
    columns: dict[str, Any] | None
    """None where the row could not be read."""
    reason: str = ""
    """Why not."""


def read(path: Path, text: str, label: str, max_line_bytes: int) -> Iterator[Record]:
    """The records of a file, or of every file of a folder in order of their names.

    In a folder of one folder a class, ``text`` is a file's content and ``label`` its folder's name.

    Raises:
        InputError: an unknown format, a damaged file, or a header that cannot be used.
    """
    if path.is_dir():
        classes = sorted(folder for folder in path.iterdir() if folder.is_dir() and any(folder.glob("*.txt")))
        if classes:
            yield from _class_folders(classes, text, label, max_line_bytes)
            return
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
        if not files:
            raise InputError(f"the folder {path} holds no file: {_FORMATS} can be read")
    else:
        files = [path]
    for file in files:
        yield from _file(file, max_line_bytes)


def _file(path: Path, max_line_bytes: int) -> Iterator[Record]:
    suffixes = path.name.lower().split(".")[1:]
    packed = suffixes[-1:] == ["gz"]
    suffix = f".{suffixes[-2 if packed else -1]}" if len(suffixes) > packed else ""
    if suffix == ".parquet" and not packed:
        yield from _parquet(path)
        return
    if suffix not in _TEXT_FORMATS:
        raise InputError(f"the format of {path} is not known by its name: {_FORMATS} can be read")
    with _damage_explained(path), gzip.open(path) if packed else path.open("rb") as file:
        lines = _Lines(file, path.name, max_line_bytes)
        yield from (
            _json_lines(lines) if suffix in (".jsonl", ".ndjson") else _table(lines, "\t" if suffix == ".tsv" else ",")
        )


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


class _Lines:
    """A binary file's lines as text; one over the limit is read past, never held, and kept for ``over_long``.

    Bytes that are not UTF-8 become surrogates (Python's surrogateescape), by which a row with such bytes is known.
    """

    def __init__(self, file: BinaryIO | gzip.GzipFile, name: str, limit: int) -> None:
        self._file, self.name, self.limit = file, name, limit
        self.over_long = 0
        self._first = True

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(self.limit + 1):
            if len(line) > self.limit and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = self._file.readline(self.limit + 1)
                self.over_long += 1
                yield "\n"
                continue
            if self._first:
                line = line.removeprefix(b"\xef\xbb\xbf")
                self._first = False
            yield line.decode("utf-8", "surrogateescape")


def _drain(lines: _Lines, row: int) -> Iterator[Record]:
    """A rejection for every over-long line met since the last row."""
    for _ in range(lines.over_long):
        yield Record(f"{lines.name}:{row}", None, OVER_LONG_LINE)
    lines.over_long = 0


def _table(lines: _Lines, delimiter: str) -> Iterator[Record]:
    """CSV or TSV with a header row."""
    # A quote that is never closed would swallow the rest of the file into one field.
    csv.field_size_limit(lines.limit)
    rows = csv.reader(iter(lines), delimiter=delimiter)
    try:
        header = next(rows, None)
    except csv.Error as error:
        raise InputError(f"the header of {lines.name} cannot be read: {error}") from error
    if lines.over_long:
        raise InputError(f"the header of {lines.name} is longer than source.max_line_bytes={lines.limit}")
    if not header:
        raise InputError(f"{lines.name} has no header row: its first line must name the columns")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise InputError(f"the header of {lines.name} names {', '.join(sorted(map(repr, repeated)))} more than once")
    row = 0
    while True:
        row += 1
        try:
            fields = next(rows)
        except StopIteration:
            yield from _drain(lines, row)
            return
        except csv.Error:
            yield Record(f"{lines.name}:{row}", None, OVER_LONG_LINE)
            continue
        yield from _drain(lines, row)
        if not fields:
            row -= 1
        elif any(_undecodable(field) for field in fields):
            yield Record(f"{lines.name}:{row}", None, UNDECODABLE)
        elif len(fields) != len(header):
            yield Record(f"{lines.name}:{row}", None, NOT_A_RECORD)
        else:
            yield Record(f"{lines.name}:{row}", dict(zip(header, fields, strict=True)))


def _json_lines(lines: _Lines) -> Iterator[Record]:
    for row, line in enumerate(lines, 1):
        if lines.over_long:
            yield from _drain(lines, row)
        elif _undecodable(line):
            yield Record(f"{lines.name}:{row}", None, UNDECODABLE)
        elif line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                yield Record(f"{lines.name}:{row}", record)
            else:
                yield Record(f"{lines.name}:{row}", None, NOT_A_RECORD)


def _undecodable(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def _parquet(path: Path) -> Iterator[Record]:
    row = 0
    with _damage_explained(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1_024):
            for record in _rows_of(batch):
                row += 1
                if record is None:
                    yield Record(f"{path.name}:{row}", None, UNDECODABLE)
                else:
                    yield Record(f"{path.name}:{row}", record)


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


def _class_folders(classes: list[Path], text: str, label: str, max_line_bytes: int) -> Iterator[Record]:
    for folder in classes:
        for file in sorted(folder.glob("*.txt")):
            identity = f"{folder.name}/{file.name}"
            with _damage_explained(file):
                if file.stat().st_size > max_line_bytes:
                    yield Record(identity, None, OVER_LONG_LINE)
                    continue
                content = file.read_bytes()
            try:
                yield Record(identity, {text: content.decode("utf-8-sig"), label: folder.name})
            except UnicodeDecodeError:
                yield Record(identity, None, UNDECODABLE)
