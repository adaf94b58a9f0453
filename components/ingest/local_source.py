"""Reader of a source on local disk: a file, a folder of files, a tree of class folders, or two joined files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import InputError, Source
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.file_formats import (
    FORMATS,
    encoding_of,
    file_errors,
    is_delimited,
    print_guess,
    read_file,
)
from textgate.components.ingest.join import read_joined
from textgate.components.ingest.labels import LabelNames, read_label
from textgate.components.ingest.parallel_files import read_parallel
from textgate.components.ingest.raw_rows import (
    SPLIT_COLUMN,
    RawRow,
    printable_name,
    require_columns,
    visible_entries,
)
from textgate.components.ingest.rejection_reasons import OVER_LONG_LINE, UNDECODABLE, UNKNOWN_LABEL
from textgate.components.ingest.row_filter import RowFilter
from textgate.components.ingest.text_encoding import Encoding

# Documentation in a published folder, such as readme.txt and classes.txt of AG News.
_DOCUMENT_SUFFIXES = (".txt", ".md")


def read_local(
    path: Path,
    source: Source,
    columns: Sequence[str],
    row_filter: RowFilter | None = None,
    descriptions: list[SourceFile] | None = None,
) -> Iterator[RawRow]:
    """Yield the rows of a file, of the files of a folder sorted by name, or of two joined files.

    In a tree of class folders ``source.text`` is the content of a file, and ``source.label`` the name of its folder.
    The column ``split``, if it is read, is the file's name without suffixes, unless the file has such a column; in a
    tree of ``split/class/*.txt`` it is the name of the upper folder.

    Args:
        path: File or folder.
        source: Source settings.
        columns: Columns to read.
        row_filter: Filter of the rows; a class folder that it excludes is counted but its files are not opened.
        descriptions: List that receives a description of each file after its last row.

    Raises:
        InputError: The format is unknown, a file is damaged, or a column is missing.
    """
    if source.join:
        yield from read_joined(path, source.join, source.max_line_bytes, columns, source.format, descriptions)
        return
    if source.parallel:
        yield from read_parallel(path, source.parallel, source.max_line_bytes, columns, source.format, descriptions)
        return
    if path.is_dir() and not source.format.pattern and (class_folders := find_class_folders(path)):
        known = [*source.text_columns[:1], source.label, *([SPLIT_COLUMN] if class_folders[0][0] else [])]
        require_columns(columns, known, printable_name(path))
        yield from _read_class_folders(path, class_folders, source, row_filter, descriptions)
        return
    files = list_data_files(path)
    if not files:
        raise InputError(f"the folder {path} holds no file: {FORMATS} can be read")
    yield from read_files(files, source, columns, descriptions)


def read_files(
    files: Sequence[Path], source: Source, columns: Sequence[str], descriptions: list[SourceFile] | None = None
) -> Iterator[RawRow]:
    """Yield the rows of several files, one file after the other; see ``read_local``."""
    required = [column for column in columns if column != SPLIT_COLUMN]
    for file in files:
        split = printable_name(Path(Path(file.stem).stem if file.suffix.lower() == ".gz" else file.stem))
        rows = read_file(file, source.max_line_bytes, columns, required, source.columns, source.format, descriptions)
        for row in rows:
            if SPLIT_COLUMN not in columns:
                yield row
            elif row.columns is not None:
                yield row._replace(columns={SPLIT_COLUMN: split, **row.columns})
            else:
                yield row._replace(known={SPLIT_COLUMN: split, **(row.known or {})})


def apply_csv_layout(source: Source, files: Sequence[Path]) -> Source:
    """Return the source with the settings of ``source.csv`` applied if all ``files`` are delimited text."""
    if source.csv and files and all(is_delimited(file, source.format) for file in files):
        return source.model_copy(update=source.csv.model_dump(exclude_none=True))
    return source


def list_data_files(path: Path) -> list[Path]:
    """Return a file, or the data files of a folder sorted by name."""
    if not path.is_dir():
        return [path]
    return skip_documents([file for file in visible_entries(path) if file.is_file()])


def skip_documents(files: list[Path]) -> list[Path]:
    """Return the files that are neither ``.txt`` nor ``.md``, or all files if there are no others."""
    return [file for file in files if file.suffix.lower() not in _DOCUMENT_SUFFIXES] or files


def find_class_folders(path: Path) -> list[tuple[str | None, Path]]:
    """Return the folders that hold one class each.

    The tree has two levels, ``split/class/*.txt``, if each of its folders has subfolders with texts. Text files between
    the levels, such as the lists of URLs in aclImdb, are then ignored.

    Returns:
        Name of the split, or None in a tree of one level, and folder of the class. Empty if the folder is no such tree.
    """
    folders = [folder for folder in visible_entries(path) if folder.is_dir()]
    subfolders = {
        folder: [inner for inner in visible_entries(folder) if inner.is_dir() and any(_text_files(inner))]
        for folder in folders
    }
    used = [folder for folder in folders if subfolders[folder] or any(_text_files(folder))]
    if all(subfolders[folder] for folder in used):
        return [(folder.name, inner) for folder in used for inner in subfolders[folder]]
    return [(None, folder) for folder in used if any(_text_files(folder))]


def _text_files(folder: Path) -> Iterator[str]:
    """Yield the names of a folder's text files, unsorted."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".txt") and not entry.name.startswith(".") and entry.is_file():
                yield entry.name


class _ClassFolder(NamedTuple):
    """Folder of texts that have one label."""

    name: str
    """Name below the source, with that of its split."""
    files: list[Path]
    columns: dict[str, str]
    """Label, and split if there is one."""
    is_excluded: bool
    """Whether the row filter excludes all of its texts."""
    has_known_label: bool


def _read_class_folders(
    path: Path,
    folders: Sequence[tuple[str | None, Path]],
    source: Source,
    row_filter: RowFilter | None,
    descriptions: list[SourceFile] | None,
) -> Iterator[RawRow]:
    classes = [_class_folder(split, folder, source, row_filter) for split, folder in folders]
    # Excluded folders are listed only: aclImdb has 50,000 unlabelled texts.
    opened = [file for one in classes if one.has_known_label and not one.is_excluded for file in one.files]
    with file_errors(path):
        encoding = encoding_of(opened, source.format) if opened else Encoding("utf-8")
    print_guess(path, encoding)
    for one in classes:
        for file in one.files:
            row_id = f"{one.name}/{printable_name(file)}"
            if one.is_excluded:
                yield RawRow(row_id, one.columns)
            elif not one.has_known_label:
                yield RawRow(row_id, None, UNKNOWN_LABEL, known=one.columns)
            else:
                yield _read_text_file(file, row_id, one.columns, source, encoding)
        if descriptions is not None:
            descriptions.append(
                SourceFile(
                    name=one.name,
                    format="text files",
                    records=len(one.files),
                    encoding=encoding.name,
                    is_encoding_guessed=encoding.is_guessed,
                )
            )


def _class_folder(split: str | None, folder: Path, source: Source, row_filter: RowFilter | None) -> _ClassFolder:
    columns = {source.label: folder.name, **({SPLIT_COLUMN: split} if split else {})}
    filters_labels = row_filter is not None and source.text_columns[0] not in row_filter.columns
    return _ClassFolder(
        "/".join(map(printable_name, [folder.parent, folder] if split else [folder])),
        [folder / name for name in sorted(_text_files(folder))],
        columns,
        row_filter is not None and filters_labels and not row_filter.matches(columns),
        LabelNames(source.labels).name(read_label(folder.name)) is not None,
    )


def _read_text_file(file: Path, row_id: str, columns: dict[str, str], source: Source, encoding: Encoding) -> RawRow:
    with file_errors(file), file.open("rb") as stream:
        content = stream.read(source.max_line_bytes + 1)
    if len(content) > source.max_line_bytes:
        return RawRow(row_id, None, OVER_LONG_LINE, known=columns)
    try:
        text = content.decode(encoding.name).removeprefix("\ufeff")
        return RawRow(row_id, {source.text_columns[0]: text, **columns})
    except UnicodeDecodeError:
        return RawRow(row_id, None, UNDECODABLE, known=columns)
