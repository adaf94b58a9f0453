"""Parallel files: line n of one file and line n of another are columns of one row, as TweetEval is published."""

import glob
import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

from textgate.components.contracts import InputError
from textgate.components.contracts.recipe.source import FileFormat
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.file_formats import encoding_of, file_errors, open_lines
from textgate.components.ingest.raw_rows import SPLIT_COLUMN, RawRow, printable_name, require_columns
from textgate.components.ingest.text_lines import TextLines


def read_parallel(
    path: Path,
    files: Mapping[str, str],
    max_line_bytes: int,
    columns: Sequence[str],
    file_format: FileFormat,
    descriptions: list[SourceFile] | None = None,
) -> Iterator[RawRow]:
    """Yield a row for each line of the files, blank lines included; one line of each file is in memory at a time.

    Args:
        path: Folder of the files.
        files: Column to name of its file, relative to the folder. ``*`` in every name stands for the same text, which
            is the column ``split``; the splits are read in the order of their names.
        max_line_bytes: Limit of a line.
        columns: Columns that must exist.
        file_format: Format of the files; only their encoding matters.
        descriptions: List that receives a description of each file after its last line.

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
        described = yield from _read_split(path, paths, constant, max_line_bytes, file_format)
        if descriptions is not None:
            descriptions.extend(described)


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
    folder: Path,
    paths: Mapping[str, Path],
    constant: Mapping[str, str],
    max_line_bytes: int,
    file_format: FileFormat,
) -> Generator[RawRow, None, list[SourceFile]]:
    names = [os.fsencode(path.relative_to(folder)).decode("utf-8", "replace") for path in paths.values()]
    for name, path in zip(names, paths.values(), strict=True):
        if not path.is_file():
            raise InputError(f"the folder {folder} holds no {name}, but other files that source.parallel names with it")
    encodings = [encoding_of([path], file_format) for path in paths.values()]
    with ExitStack() as stack:
        readers = [
            stack.enter_context(open_lines(path, encoding, max_line_bytes, quote=None))
            for path, encoding in zip(paths.values(), encodings, strict=True)
        ]
        for lines in zip_longest(*map(_lines, paths.values(), readers)):
            if None in lines:
                continue
            number, pairs = readers[0].count, list(zip(readers, lines, strict=True))
            texts = [reader.shown(line) for reader, line in pairs]
            reasons = [reason for reader, line in pairs if (reason := reader.problem(line))]
            values = {**constant, **dict(zip(paths, texts, strict=True))}
            row_id, columns = f"{names[0]}:{number}", None if reasons else values
            yield RawRow(row_id, columns, "".join(reasons[:1]), number, None, texts[0], values)
    for name, reader in zip(names, readers, strict=True):
        if reader.count != readers[0].count:
            raise InputError(
                f"{names[0]} has {readers[0].count:,} lines but {name} {reader.count:,}: line n of one file belongs "
                f"to line n of the other, so the files in {folder} must have as many lines"
            )
    return [
        SourceFile(
            name=name,
            format="text lines",
            records=reader.count,
            lines=reader.count,
            encoding=encoding.name,
            is_encoding_guessed=encoding.is_guessed,
        )
        for name, reader, encoding in zip(names, readers, encodings, strict=True)
    ]


def _lines(path: Path, reader: TextLines) -> Iterator[str]:
    with file_errors(path):
        yield from iter(reader.read_line, "")
