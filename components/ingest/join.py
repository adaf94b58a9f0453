"""Join of two files by a key: the rows of the left one with the columns of the right one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError
from textgate.components.contracts.recipe.source import FileFormat, Join
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.file_formats import read_file
from textgate.components.ingest.raw_rows import (
    MAX_KNOWN_COLUMNS,
    SPLIT_COLUMN,
    RawRow,
    printable_name,
    require_columns,
    to_text,
    visible_entries,
)
from textgate.components.ingest.rejection_reasons import NO_MATCH, SEVERAL_MATCHES


def read_joined(
    path: Path,
    join: Join,
    max_line_bytes: int,
    columns: Sequence[str],
    file_format: FileFormat | None = None,
    files: list[SourceFile] | None = None,
) -> Iterator[RawRow]:
    """Yield the rows of ``join.left`` with the columns that ``join.right`` has for the same key.

    A column of both files is taken from the left one. A row without a match is rejected, and so is one with several
    matches that differ in ``columns``.

    Args:
        path: Folder of the two files, or of several folders with two such files each; the inner folder's name is then
            the column ``split``, as Webis-Clickbait-17 is published.
        join: Names of the files and the key.
        max_line_bytes: Limit of a row.
        columns: Columns to read. Those of the right file are held in memory, for one folder at a time.
        file_format: Format of text files.
        files: List that receives a description of each file after its last row.

    Raises:
        InputError: A file is missing or damaged, or a column exists in neither file.
    """
    if not path.is_dir():
        raise InputError(f"{path} is one file, but source.join reads {join.left} and {join.right} from a folder")
    read = partial(read_file, max_line_bytes=max_line_bytes, file_format=file_format, files=files)
    missing = [name for name in (join.left, join.right) if not (path / name).is_file()]
    if not missing:
        yield from _join_folder(path, "", {}, join, read, columns)
        return
    folders = [
        folder for folder in visible_entries(path) if (folder / join.left).is_file() and (folder / join.right).is_file()
    ]
    if not folders:
        raise InputError(f"the folder {path} holds no {missing[0]}, which source.join names")
    for folder in folders:
        name = printable_name(folder)
        yield from _join_folder(folder, f"{name}/", {SPLIT_COLUMN: name}, join, read, columns)


@dataclass
class _ColumnCheck:
    """Columns seen so far, to report those that exist in neither file."""

    missing: set[str]
    known: dict[str, None] = field(default_factory=dict)

    def see(self, columns: dict[str, Any]) -> None:
        self.missing -= columns.keys()
        if len(self.known) < MAX_KNOWN_COLUMNS:
            self.known.update(dict.fromkeys(columns))


def _join_folder(
    folder: Path,
    prefix: str,
    constant: dict[str, Any],
    join: Join,
    read: Callable[..., Iterator[RawRow]],
    columns: Sequence[str],
) -> Iterator[RawRow]:
    """Join the files of one folder; ``prefix`` is added to row ids, and ``constant`` to the columns of every row."""
    to_read = [*columns, join.on]
    right_columns = [column for column in columns if column != join.on and column not in constant]
    check = _ColumnCheck(set(columns))
    check.see(constant)
    # None marks a key with matches that differ.
    matches: dict[str, tuple[Any, ...] | None] = {}
    for row in read(folder / join.right, columns=to_read, required=[join.on]):
        if row.columns is not None and (key := to_text(row.columns.get(join.on)).strip()):
            check.see(row.columns)
            match = tuple(row.columns.get(column) for column in right_columns)
            if matches.setdefault(key, match) != match:
                matches[key] = None
    for row in read(folder / join.left, columns=to_read, required=[join.on]):
        row_id = f"{prefix}{row.id}"
        if row.columns is None:
            yield row._replace(id=row_id)
            continue
        check.see(row.columns)
        key = to_text(row.columns.get(join.on)).strip()
        if (values := matches.get(key)) is not None:
            joined = {**constant, **dict(zip(right_columns, values, strict=True)), **row.columns}
            yield row._replace(id=row_id, columns=joined)
        else:
            reason = SEVERAL_MATCHES if key in matches else NO_MATCH
            yield RawRow(row_id, None, reason, row.line, known={**constant, **row.columns})
    still_missing = [column for column in columns if column in check.missing]
    require_columns(still_missing, list(check.known), f"{join.left} or {join.right}")
