"""Reader of one sheet of a workbook: ``.xlsx`` (Office Open XML) or ``.ods`` (OpenDocument)."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from textgate.components.contracts import InputError
from textgate.components.ingest.raw_rows import RawRow, printable_name, require_columns, require_unique_columns, to_text
from textgate.components.ingest.rejection_reasons import NOT_A_RECORD

WORKBOOK_SUFFIXES = (".xlsx", ".ods")
"""Suffixes of the workbooks that can be read."""
_SHEET_READER = Path(__file__).with_name("sheet_rows.py")
_MAX_UNPACKED_BYTES = 1 << 30
_MAX_MEMORY_BYTES = 2 << 30


def read_workbook(
    path: Path,
    required: Sequence[str],
    columns: Sequence[str] | None = None,
    has_header: bool = True,
    sheet: str | None = None,
) -> Generator[RawRow, None, int]:
    """Yield the rows of a sheet; rows without a value are skipped.

    A number is the one that the cell holds, however the sheet shows it; a date or time is text in ISO 8601. An error
    such as #N/A is no value. A row's id has its number in the sheet. Columns without a name are ignored.

    Args:
        path: The workbook. It may unpack to 1 GiB; another process, limited to 2 GiB of memory, reads it.
        required: Columns that must exist.
        columns: Column names, instead of the header's.
        has_header: Whether the first row that is not empty is a header.
        sheet: Name of the sheet; by default the first one.

    Returns:
        Number of rows.

    Raises:
        InputError: The workbook is damaged or too large, or the sheet or a required column does not exist.
    """
    _check_unpacked_size(path)
    name = printable_name(path)
    rows = ((number, row) for number, row in _sheet_rows(path, sheet) if any(row))
    header = [to_text(cell).strip() for cell in next(rows, (0, []))[1]] if has_header else []
    names = list(columns or header)
    named = [column for column in names if column]
    require_unique_columns(named, name)
    require_columns(required, named, name)
    count = 0
    for number, row in rows:
        count += 1
        if columns and any(row[len(columns) :]):
            shown = " ".join(map(to_text, row))
            yield RawRow(f"{name}:{number}", None, NOT_A_RECORD, number, None, shown)
        else:
            cells = dict(zip(names, row + [""] * len(names), strict=False))
            yield RawRow(f"{name}:{number}", {column: cells[column] for column in named}, "", number)
    return count


def _check_unpacked_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is damaged, or has a password: it is not readable as a workbook") from error
    if size > _MAX_UNPACKED_BYTES:
        raise InputError(
            f"{path} unpacks to {size:,} bytes, but only {_MAX_UNPACKED_BYTES:,} of a workbook are read: save the "
            "sheet as CSV"
        )


def _sheet_rows(path: Path, sheet: str | None) -> Iterator[tuple[int, list[Any]]]:
    """Yield number and cells of each row of a sheet; an empty cell is the empty text."""
    command = [sys.executable, "-I", str(_SHEET_READER), str(_MAX_MEMORY_BYTES), str(path)]
    command += [sheet] if sheet is not None else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        output, errors = cast(IO[str], process.stdout), cast(IO[str], process.stderr)
        sheets = json.loads(output.readline() or "[]")
        yield from enumerate(map(json.loads, output), 1)
        problem = errors.read().strip()
    if process.returncode < 0 or problem.endswith("MemoryError"):
        raise InputError(
            f"{path} needs over {_MAX_MEMORY_BYTES >> 30} GiB of memory, by many or distant cells or long texts: save "
            "the sheet as CSV"
        )
    if process.returncode:
        raise InputError(f"{path} is damaged: it is not readable as a workbook ({problem.rpartition(chr(10))[2]})")
    if sheet not in (None, *sheets):
        raise InputError(f"{path} has no sheet {sheet!r}: source.format.sheet can be {' or '.join(sheets)}")
