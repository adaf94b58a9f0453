"""Parallel files: line n of one file and line n of another are columns of one row, as TweetEval is published."""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from textgate.components.contracts import InputError
from textgate.components.ingest.file_formats import file_errors
from textgate.components.ingest.physical_lines import TextLine, read_lines
from textgate.components.ingest.raw_rows import SPLIT_COLUMN, RawRow, printable_name, require_columns


def read_parallel(
    path: Path, files: Mapping[str, str], encoding: str, max_line_bytes: int, columns: Sequence[str]
) -> Iterator[RawRow]:
    """Yield a row for each line of the files, blank lines included; one line of each file is in memory at a time.

    Args:
        path: Folder of the files.
        files: Column to name of its file, relative to the folder. ``*`` in every name stands for the same text, which
            is the column ``split``; the splits are read in the order of their names.
        encoding: Encoding of the files.
        max_line_bytes: Limit of a line.
        columns: Columns that must exist.

    Raises:
        InputError: A column has no file, a file is missing or cannot be read, or the files of a split differ in their
            numbers of lines.
    """
    if not path.is_dir():
        raise InputError(f"{path} is one file, but source.parallel reads {' and '.join(files.values())} from a folder")
    has_splits = any("*" in name for name in files.values())
    require_columns(columns, [*files, *([SPLIT_COLUMN] if has_splits else [])], "source.parallel")
    splits = {split for name in files.values() for split in _find_splits(path, name)}
    for split in sorted(splits):
        paths = {column: path / name.replace("*", split) for column, name in files.items()}
        constant = {SPLIT_COLUMN: printable_name(Path(split))} if has_splits else {}
        yield from _read_split(path, paths, constant, encoding, max_line_bytes)


def _find_splits(folder: Path, name: str) -> list[str]:
    """Return what ``*`` stands for in the names of the folder's files, or the empty text for a name without it.

    Raises:
        InputError: There is no such file.
    """
    pattern = re.compile("(.*)".join(map(re.escape, name.split("*"))) if "*" in name else f"{re.escape(name)}()")
    files = folder.glob("*".join(map(glob.escape, name.split("*"))))
    matches = [pattern.fullmatch(file.relative_to(folder).as_posix()) for file in files]
    # Hidden files are ignored, such as ._train_text.txt, which macOS adds.
    splits = [match[1] for match in matches if match and not match[1].startswith((".", "_"))]
    if not splits:
        raise InputError(f"the folder {folder} holds no {name}, which source.parallel names")
    return splits


def _read_split(
    folder: Path, paths: Mapping[str, Path], constant: Mapping[str, str], encoding: str, max_line_bytes: int
) -> Iterator[RawRow]:
    names = [os.fsencode(path.relative_to(folder)).decode("utf-8", "replace") for path in paths.values()]
    for name, path in zip(names, paths.values(), strict=True):
        if not path.is_file():
            raise InputError(f"the folder {folder} holds no {name}, but other files that source.parallel names with it")
    counts = [0] * len(paths)
    readers = [_read_lines(path, encoding, max_line_bytes) for path in paths.values()]
    for number, lines in enumerate(zip_longest(*readers), 1):
        counts = [count if line is None else number for line, count in zip(lines, counts, strict=True)]
        if None in lines:
            continue
        row_id = f"{names[0]}:{number}"
        if reason := next((line.reason for line in lines if line.reason), ""):
            yield RawRow(row_id, None, reason)
        else:
            yield RawRow(row_id, {**constant, **dict(zip(paths, (line.text for line in lines), strict=True))})
    for name, count in zip(names, counts, strict=True):
        if count != counts[0]:
            raise InputError(
                f"{names[0]} has {counts[0]:,} lines but {name} has {count:,}: line n of one file belongs to line n of "
                f"the other, so the files in {folder} must have as many lines"
            )


def _read_lines(path: Path, encoding: str, max_line_bytes: int) -> Iterator[TextLine]:
    with file_errors(path):
        yield from read_lines(path, encoding, max_line_bytes)
