"""Records: what every reader yields, and how a record's cells are read."""

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from textgate.components.contracts import InputError

SPLIT_COLUMN = "split"
"""Name of the column that readers add where a source is published in splits."""
COLUMNS_COMPARED = 1_000
"""How many names of columns are remembered for the sentence that one is missing."""
_COLUMNS_NAMED = 20
# Bytes that are not UTF-8 are decoded to U+DC80 to U+DCFF (surrogateescape).
_SURROGATE = re.compile("[\ud800-\udfff]")


class RawRow(NamedTuple):
    """One row as the source has it."""

    id: str
    """``file:row``, counted from 1; ``class/file`` or ``split/class/file`` in a folder of one folder a class."""
    columns: dict[str, Any] | None
    """None where the row could not be read."""
    reason: str = ""
    """Why not."""


def require_columns(wanted: Iterable[str], known: Sequence[str], where: str) -> None:
    """Raise InputError on the first column that ``where`` lacks, naming the nearest one it has."""
    names = set(known)
    for column in wanted:
        if column not in names:
            shown = [_printable(name) for name in known[:_COLUMNS_NAMED]]
            if len(known) > _COLUMNS_NAMED:
                shown.append(f"{len(known) - _COLUMNS_NAMED:,} more")
            nearest = difflib.get_close_matches(column, known[:COLUMNS_COMPARED], n=1, cutoff=0.0)
            guess = f"; did you mean {nearest[0]!r}? It has {', '.join(shown)}" if nearest else ": it has no columns"
            raise InputError(f"no column {column!r} in {where}{guess}")


def surrogate_in(text: str) -> bool:
    """Whether a text holds what was no UTF-8, or half of a pair that JSON escaped: neither can be stored."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def require_unique(names: Iterable[str], where: str) -> None:
    """Raise InputError on names of columns that ``where`` has more than once."""
    repeated = [repr(name) for name, count in sorted(Counter(names).items()) if count > 1]
    if repeated:
        raise InputError(f"the header of {where} names {', '.join(repeated[:_COLUMNS_NAMED])} more than once")


def _printable(name: str) -> str:
    return " ".join(name.split()).encode("utf-8", "backslashreplace").decode("utf-8")


def visible(folder: Path) -> list[Path]:
    """What a folder holds, by name, without what is hidden or a tool's own."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "_")))


def storable_name(path: Path) -> str:
    """The file's name, as it can be printed and stored whatever its bytes."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def as_text(value: Any) -> str:
    """A cell as text: nothing is empty, a list's texts are joined by a space, and 1.0 of a column of floats is 1."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if is_texts(value):
        return " ".join(value)
    return str(value)


def is_texts(value: Any) -> bool:
    """Whether a cell is a list of nothing but texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
