"""Readers of one file in CSV, TSV or another delimited text, JSON or Parquet; they stream, about one row in memory."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError
from textgate.components.contracts.recipe.source import FileFormat
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.delimited import read_delimited
from textgate.components.ingest.json_records import JsonDocument, is_json_array, is_json_object, read_json_lines
from textgate.components.ingest.line_pattern import read_pattern
from textgate.components.ingest.parquet_pages import batch_rows
from textgate.components.ingest.raw_rows import RawRow, printable_name, require_columns, require_unique_columns
from textgate.components.ingest.rejection_reasons import UNDECODABLE
from textgate.components.ingest.text_encoding import Encoding, find_encoding, open_text
from textgate.components.ingest.text_lines import TextLines
from textgate.components.ingest.workbook import WORKBOOK_SUFFIXES, read_workbook

FORMATS = (
    "CSV, TSV, JSONL, JSON, any of them with .gz, Parquet, .xlsx, .ods, or a folder of them or of one "
    "folder of .txt files a class"
)
"""Supported formats, for error messages."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_GUESSED_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 100
# A field in quotes that holds doubled ones, or a first field in quotes: both are rare where quotes are text.
_ESCAPED_QUOTE = re.compile(r'(?:^|\t)"[^"\t]*""[^\t]*"[\t\r\n]|^"[^"\t]*"\t"[^"\t]*"[\t\r\n]')
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_PARQUET_BATCH_ROWS = 256
_PARQUET_BUFFER_BYTES = 1 << 20


def read_file(
    path: Path,
    max_line_bytes: int,
    columns: Sequence[str],
    required: Sequence[str],
    header: Sequence[str] | None = None,
    file_format: FileFormat | None = None,
    files: list[SourceFile] | None = None,
) -> Iterator[RawRow]:
    """Yield the rows of a file; its format is recognized by its name, unless ``file_format`` has a delimiter.

    Args:
        path: CSV, TSV, JSON or Parquet file, or another text file if ``file_format`` has a delimiter.
        max_line_bytes: Limit of a row.
        columns: Columns to read; rows may have others too.
        required: Columns that must exist.
        header: Column names of a delimited file, instead of its header's.
        file_format: Format of a text file; what it does not say is found out.
        files: List that receives a description of the file after its last row.

    Raises:
        InputError: The format is unknown, the file is damaged, or a required column is missing.
    """
    file_format, files = file_format or FileFormat(), [] if files is None else files
    suffix = _format_suffix(path)
    if file_format.pattern:
        with file_errors(path):
            yield from _read_pattern(path, max_line_bytes, file_format.pattern, required, file_format, files)
    elif suffix in WORKBOOK_SUFFIXES:
        with file_errors(path):
            has_header = not header if file_format.header is None else file_format.header
            records = yield from read_workbook(path, required, header, has_header, file_format.sheet)
        files.append(SourceFile(name=printable_name(path), format="workbook", records=records))
    elif suffix == ".parquet" and not _is_gzip(path):
        yield from _read_parquet(path, columns, required, files)
    elif suffix in _JSON_SUFFIXES:
        with file_errors(path):
            yield from _read_json(path, max_line_bytes, required, header, file_format, files)
    elif is_delimited(path, file_format):
        with file_errors(path):
            yield from _read_delimited(path, max_line_bytes, required, header, file_format, files)
    else:
        raise InputError(
            f"the format of {path} is not known by its name: {FORMATS} can be read, and other text with a character "
            "between its fields if source.format.delimiter names it"
        )


def is_delimited(path: Path, file_format: FileFormat | None = None) -> bool:
    """Return whether a file is delimited text by its name, or by ``file_format``."""
    suffix = _format_suffix(path)
    is_said = file_format is not None and file_format.delimiter is not None
    return suffix in _DELIMITERS or (is_said and suffix not in (*_JSON_SUFFIXES, *WORKBOOK_SUFFIXES, ".parquet"))


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


@contextmanager
def open_lines(path: Path, encoding: Encoding, max_line_bytes: int, quote: str | None = '"') -> Iterator[TextLines]:
    """Open a text file for reading its lines; ``quote`` is the quote character, None if there is none."""
    file, file_encoding = open_text(path, encoding.name)
    with closing(file):
        yield TextLines(file, printable_name(path), max_line_bytes, file_encoding, encoding.is_valid, quote)


def encoding_of(paths: Sequence[Path], file_format: FileFormat) -> Encoding:
    """Return the encoding that the format names, or the one that is found out; ``paths`` have the same."""
    return Encoding(file_format.encoding) if file_format.encoding else find_encoding(*paths)


def _read_pattern(
    path: Path,
    max_line_bytes: int,
    pattern: str,
    required: Sequence[str],
    file_format: FileFormat,
    files: list[SourceFile],
) -> Iterator[RawRow]:
    encoding = encoding_of([path], file_format)
    print_guess(path, encoding)
    with open_lines(path, encoding, max_line_bytes, quote=None) as lines:
        records = yield from read_pattern(lines, pattern, required)
        files.append(
            SourceFile(
                name=lines.name,
                format="text lines",
                records=records,
                lines=lines.count,
                encoding=encoding.name,
                is_encoding_guessed=encoding.is_guessed,
            )
        )


def _read_delimited(
    path: Path,
    max_line_bytes: int,
    required: Sequence[str],
    columns: Sequence[str] | None,
    file_format: FileFormat,
    files: list[SourceFile],
) -> Iterator[RawRow]:
    encoding, delimiter = encoding_of([path], file_format), file_format.delimiter or _DELIMITERS[_format_suffix(path)]
    if file_format.delimiter is None and delimiter == ",":
        with open_lines(path, encoding, max_line_bytes) as lines:
            delimiter = _guess_delimiter(lines, file_format.quote, columns)
    quote = ('"' if delimiter != "\t" else None) if file_format.quote is None else file_format.quote or None
    is_guessed = file_format.delimiter is None and delimiter != _DELIMITERS[_format_suffix(path)]
    print_guess(path, encoding, delimiter if is_guessed else None)
    if quote is None and file_format.quote is None:
        with open_lines(path, encoding, max_line_bytes) as lines:
            if any(_ESCAPED_QUOTE.search(line) for line in islice(iter(lines.read_line, ""), _SAMPLE_ROWS)):
                print(
                    f"{lines.name}: quotes are text in TSV; if fields are quoted, set source.format.quote='\"'",
                    flush=True,
                )
    with open_lines(path, encoding, max_line_bytes, quote) as lines:
        records = yield from read_delimited(lines, delimiter, quote, required, columns, bool(file_format.header))
        files.append(
            SourceFile(
                name=lines.name,
                format="delimited text",
                records=records,
                lines=lines.count,
                encoding=encoding.name,
                is_encoding_guessed=encoding.is_guessed,
                delimiter=delimiter,
                is_delimiter_guessed=is_guessed,
                quote=quote,
            )
        )


def _guess_delimiter(lines: TextLines, quote: str | None, columns: Sequence[str] | None) -> str:
    """Return the delimiter of a ``.csv`` file: a comma, or a semicolon, tab or bar if it is one.

    It is the one by which most of the first rows have as many fields as the header, and more than one, or as many as
    ``columns``. A comma is preferred if the header has one, or if there is a tie.
    """
    sample = [line for line in islice(iter(lines.read_line, ""), _SAMPLE_ROWS) if not lines.problem(line)]
    scores = {}
    for delimiter in _GUESSED_DELIMITERS:
        mark = ('"' if delimiter != "\t" else "") if quote is None else quote
        rows = csv.reader(
            sample,
            delimiter=delimiter,
            quotechar=mark or None,
            quoting=csv.QUOTE_MINIMAL if mark else csv.QUOTE_NONE,
        )
        try:
            widths = [len(fields) for fields in rows if fields]
        except csv.Error:
            continue
        width = len(columns) if columns else max(widths[:1], default=1)
        if delimiter == "," and width > 1 and not columns:
            return delimiter
        scores[delimiter] = widths.count(width) if width > 1 else 0
    return max(scores, key=scores.__getitem__) if any(scores.values()) else ","


def print_guess(path: Path, encoding: Encoding, delimiter: str | None = None) -> None:
    """Print what was guessed about a file, or about the files of a folder."""
    guesses = [f"encoding {encoding.name}"] if encoding.is_guessed else []
    guesses += [f"delimiter {delimiter!r}"] if delimiter else []
    if guesses:
        print(f"{printable_name(path)}: guessed {', '.join(guesses)} (source.format says otherwise)", flush=True)


def _read_json(
    path: Path,
    max_line_bytes: int,
    required: Sequence[str],
    header: Sequence[str] | None,
    file_format: FileFormat,
    files: list[SourceFile],
) -> Iterator[RawRow]:
    encoding = encoding_of([path], file_format)
    print_guess(path, encoding)
    with open_lines(path, encoding, max_line_bytes) as lines:
        is_array = not file_format.records and is_json_array(lines)
    if is_array or file_format.records:
        file, file_encoding = open_text(path, encoding.name)
        with closing(file):
            document = JsonDocument(file, printable_name(path), max_line_bytes, file_encoding)
            records = yield from document.rows(required, file_format.records, header)
            line_count = document.line_count
    else:
        _require_json_lines(path, encoding, max_line_bytes)
        with open_lines(path, encoding, max_line_bytes) as lines:
            records = yield from read_json_lines(lines, required, header)
            line_count = lines.count
    files.append(
        SourceFile(
            name=printable_name(path),
            format="JSON array" if is_array else "nested JSON" if file_format.records else "JSON lines",
            records=records,
            lines=line_count,
            encoding=encoding.name,
            is_encoding_guessed=encoding.is_guessed,
        )
    )


def _require_json_lines(path: Path, encoding: Encoding, max_line_bytes: int) -> None:
    """Raise InputError if a ``.json`` file is one object."""
    with open_lines(path, encoding, max_line_bytes) as lines:
        if _format_suffix(path) == ".json" and is_json_object(lines):
            raise InputError(
                f"{path} holds one JSON object, neither rows in an array nor one a line: source.format.records names "
                "the key of the rows, such as data, or is '*' if each key holds the rows of a split"
            )


def _read_parquet(
    path: Path, columns: Sequence[str], required: Sequence[str], files: list[SourceFile]
) -> Iterator[RawRow]:
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
        rows = batch_rows(file, path, existing, _PARQUET_BATCH_ROWS)
        for batch in file.iter_batches(batch_size=rows, columns=existing):
            for row in _batch_rows(batch):
                number += 1
                if len(row) == len(existing):
                    yield RawRow(f"{name}:{number}", row)
                else:
                    yield RawRow(f"{name}:{number}", None, UNDECODABLE, known=row)
    files.append(SourceFile(name=name, format="Parquet", records=number))


def _batch_rows(batch: pa.RecordBatch) -> Iterable[dict[str, Any]]:
    """Yield the rows of a batch, without the values that are not UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            row = {}
            for column in batch.schema.names:
                with suppress(UnicodeDecodeError):
                    row[column] = batch.column(column)[index].as_py()
            yield row
