"""A source on local disk to raw records: a file, a folder of files, a tree of classes, or two files joined."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from textgate.components.contracts import InputError, Source
from textgate.components.ingest.files import FORMATS, damage_explained, is_table, read_file
from textgate.components.ingest.join import read_joined
from textgate.components.ingest.reasons import OVER_LONG_LINE, UNDECODABLE, UNKNOWN_LABEL
from textgate.components.ingest.records import SPLIT_COLUMN, RawRow, require_columns, storable_name, visible
from textgate.components.ingest.where import RowFilter

# What lies beside the data of a published folder, such as AG News' readme.txt and classes.txt.
_DOCUMENTS = (".txt", ".md")


def laid_out(source: Source, files: Sequence[Path]) -> Source:
    """The source with the keys of ``source.csv`` in place of its own, where all its ``files`` are CSV or TSV."""
    if source.csv and files and all(map(is_table, files)):
        return source.model_copy(update=source.csv.model_dump(exclude_none=True))
    return source


def read(path: Path, source: Source, wanted: Sequence[str], row_filter: RowFilter | None = None) -> Iterator[RawRow]:
    """The records of a file, of every file of a folder in order of their names, or of two files that are joined.

    In a folder of one folder a class, ``source.text`` is a file's content and ``source.label`` its folder's name.
    A column ``split`` is there where it is wanted: a file's name without its endings, unless the file has one itself,
    and the upper folder's name in a tree of ``split/class/*.txt``. What ``row_filter`` leaves out may lack its text.

    Raises:
        InputError: an unknown format, a damaged file, or a file without a column that is ``wanted``.
    """
    if source.join:
        yield from read_joined(path, source.join, source.max_line_bytes, wanted)
        return
    if path.is_dir() and (classes := class_folders(path)):
        known = [*source.text_columns[:1], source.label, *([SPLIT_COLUMN] if classes[0][0] else [])]
        require_columns(wanted, known, storable_name(path))
        for split, folder in classes:
            yield from _class_folder(split, folder, source, row_filter)
        return
    files = data_files(path)
    if not files:
        raise InputError(f"the folder {path} holds no file: {FORMATS} can be read")
    yield from read_files(files, source, wanted)


def read_files(files: Sequence[Path], source: Source, wanted: Sequence[str]) -> Iterator[RawRow]:
    """The records of files of a folder, one file after the other; see ``read``."""
    required = [column for column in wanted if column != SPLIT_COLUMN]
    for file in files:
        split = storable_name(Path(Path(file.stem).stem if file.suffix.lower() == ".gz" else file.stem))
        for record in read_file(file, source.max_line_bytes, wanted, required, source.columns):
            if record.columns is not None and SPLIT_COLUMN in wanted:
                yield record._replace(columns={SPLIT_COLUMN: split, **record.columns})
            else:
                yield record


def data_files(path: Path) -> list[Path]:
    """A file, or the files of a folder that hold rows, in order of their names."""
    if not path.is_dir():
        return [path]
    return without_documents([file for file in visible(path) if file.is_file()])


def without_documents(files: list[Path]) -> list[Path]:
    """The files without those that only tell of them; all, where there are no others."""
    return [file for file in files if file.suffix.lower() not in _DOCUMENTS] or files


def class_folders(path: Path) -> list[tuple[str | None, Path]]:
    """The folders of one class each, with the name of the split where the tree has two levels; none in other folders.

    A tree has two levels when each of its folders holds folders of texts; the lists of addresses that lie between the
    classes of aclImdb are no texts then.
    """
    folders = [folder for folder in visible(path) if folder.is_dir()]
    inner = {
        folder: [within for within in visible(folder) if within.is_dir() and any(_texts(within))] for folder in folders
    }
    used = [folder for folder in folders if inner[folder] or any(_texts(folder))]
    if all(inner[folder] for folder in used):
        return [(folder.name, within) for folder in used for within in inner[folder]]
    return [(None, folder) for folder in used if any(_texts(folder))]


def _texts(folder: Path) -> Iterator[str]:
    """The names of a folder's texts, in no order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".txt") and not entry.name.startswith(".") and entry.is_file():
                yield entry.name


def _class_folder(split: str | None, folder: Path, source: Source, row_filter: RowFilter | None) -> Iterator[RawRow]:
    text = source.text_columns[0]
    columns = {source.label: folder.name, **({SPLIT_COLUMN: split} if split else {})}
    # The 50,000 unlabelled texts of aclImdb are counted by their names alone.
    left_out = row_filter and text not in row_filter.columns and not row_filter.matches(columns)
    unknown = source.labels is not None and folder.name.strip() not in source.labels
    prefix = "".join(f"{storable_name(part)}/" for part in ([folder.parent, folder] if split else [folder]))
    for file in map(folder.joinpath, sorted(_texts(folder))):
        identity = f"{prefix}{storable_name(file)}"
        if left_out:
            yield RawRow(identity, columns)
        elif unknown:
            yield RawRow(identity, None, UNKNOWN_LABEL)
        else:
            yield _text_file(file, identity, text, columns, source.max_line_bytes)


def _text_file(file: Path, identity: str, text: str, columns: dict[str, str], limit: int) -> RawRow:
    with damage_explained(file), file.open("rb") as opened:
        content = opened.read(limit + 1)
    if len(content) > limit:
        return RawRow(identity, None, OVER_LONG_LINE)
    try:
        return RawRow(identity, {text: content.decode("utf-8-sig"), **columns})
    except UnicodeDecodeError:
        return RawRow(identity, None, UNDECODABLE)
