"""Two files of one folder, joined by a key: the rows of one with the columns of the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError
from textgate.components.contracts.recipe.source import Join
from textgate.components.ingest.files import read_file
from textgate.components.ingest.reasons import NO_MATCH, SEVERAL_MATCHES
from textgate.components.ingest.records import (
    COLUMNS_COMPARED,
    SPLIT_COLUMN,
    RawRow,
    as_text,
    require_columns,
    storable_name,
    visible,
)


def read_joined(path: Path, join: Join, limit: int, wanted: Sequence[str]) -> Iterator[RawRow]:
    """The rows of ``join.left`` with the columns that ``join.right`` has for the same key; its own come first.

    The two files lie in the folder, or in each of several folders in it, whose name is then the column ``split``, as
    Webis-Clickbait-17 is published. Of the right file only what is ``wanted`` is held, for one folder at a time. A row
    of the left file without a match is rejected, and one with matches that differ in what is wanted too.

    Raises:
        InputError: a file is missing or damaged, or neither has a column that is ``wanted``.
    """
    if not path.is_dir():
        raise InputError(f"{path} is one file, but source.join reads {join.left} and {join.right} from a folder")
    absent = [name for name in (join.left, join.right) if not (path / name).is_file()]
    if not absent:
        yield from _joined(path, "", {}, join, limit, wanted)
        return
    parts = [part for part in visible(path) if (part / join.left).is_file() and (part / join.right).is_file()]
    if not parts:
        raise InputError(f"the folder {path} holds no {absent[0]}, which source.join names")
    for part in parts:
        name = storable_name(part)
        yield from _joined(part, f"{name}/", {SPLIT_COLUMN: name}, join, limit, wanted)


def _joined(
    folder: Path, prefix: str, given: dict[str, Any], join: Join, limit: int, wanted: Sequence[str]
) -> Iterator[RawRow]:
    read = [*wanted, join.on]
    added = [column for column in wanted if column != join.on and column not in given]
    known = dict.fromkeys(given)
    missing = set(wanted) - known.keys()
    matches: dict[str, tuple[Any, ...] | None] = {}
    for _, columns, _ in read_file(folder / join.right, limit, read, [join.on]):
        if columns is not None and (key := as_text(columns.get(join.on)).strip()):
            missing -= columns.keys()
            if len(known) < COLUMNS_COMPARED:
                known.update(dict.fromkeys(columns))
            match = tuple(columns.get(column) for column in added)
            if matches.setdefault(key, match) != match:
                matches[key] = None
    for identity, columns, reason in read_file(folder / join.left, limit, read, [join.on]):
        if columns is None:
            yield RawRow(f"{prefix}{identity}", None, reason)
            continue
        missing -= columns.keys()
        if len(known) < COLUMNS_COMPARED:
            known.update(dict.fromkeys(columns))
        key = as_text(columns.get(join.on)).strip()
        if (found := matches.get(key)) is not None:
            yield RawRow(f"{prefix}{identity}", {**given, **dict(zip(added, found, strict=True)), **columns})
        else:
            yield RawRow(f"{prefix}{identity}", None, SEVERAL_MATCHES if key in matches else NO_MATCH)
    require_columns([column for column in wanted if column in missing], list(known), f"{join.left} or {join.right}")
