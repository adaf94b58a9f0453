"""Raw rows, which every reader yields, and the conversion of their values to text."""

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from textgate.components.contracts import InputError

SPLIT_COLUMN = "split"
"""Column that readers add with the name of the published split."""
MAX_KNOWN_COLUMNS = 1_000
"""Number of column names to remember for the error message about a missing column."""
_MAX_COLUMNS_SHOWN = 20
# Bytes that are not UTF-8 are decoded to U+DC80 to U+DCFF (surrogateescape).
_SURROGATE = re.compile("[\ud800-\udfff]")


class RawRow(NamedTuple):
    """One row of the source, before it is validated."""

    id: str
    """``file:row``, counted from 1; ``class/file`` or ``split/class/file`` in a tree of class folders."""
    columns: dict[str, Any] | None
    """Value by column, or None if the row could not be read."""
    reason: str = ""
    """Reason why the row could not be read."""
    line: int | None = None
    """First line of the row in its file, from 1; None if the format has no lines."""
    column: int | None = None
    """Position in the line, from 1, of what could not be read; None if it is not known."""
    text: str | None = None
    """Text of a row that could not be read; None if it is not known."""
    known: dict[str, Any] | None = None
    """Values of a row that could not be read, as far as they are known."""


def require_columns(required: Iterable[str], known: Sequence[str], where: str) -> None:
    """Check that all required columns exist.

    Args:
        required: Names to look up.
        known: Names of the existing columns.
        where: Name of the file for the error message.

    Raises:
        InputError: A column is missing. The message suggests the most similar existing one.
    """
    names = set(known)
    for column in required:
        if column not in names:
            shown = [_printable(name) for name in known[:_MAX_COLUMNS_SHOWN]]
            if len(known) > _MAX_COLUMNS_SHOWN:
                shown.append(f"{len(known) - _MAX_COLUMNS_SHOWN:,} more")
            nearest = difflib.get_close_matches(column, known[:MAX_KNOWN_COLUMNS], n=1, cutoff=0.0)
            hint = f"; did you mean {nearest[0]!r}? It has {', '.join(shown)}" if nearest else ": it has no columns"
            raise InputError(f"no column {column!r} in {where}{hint}")


def require_unique_columns(names: Iterable[str], where: str) -> None:
    """Check that no column name occurs twice.

    Raises:
        InputError: A name occurs more than once.
    """
    repeated = [repr(name) for name, count in sorted(Counter(names).items()) if count > 1]
    if repeated:
        raise InputError(f"the header of {where} names {', '.join(repeated[:_MAX_COLUMNS_SHOWN])} more than once")


def has_surrogate(text: str) -> bool:
    """Return whether a text holds a lone surrogate, from invalid UTF-8 or a JSON escape; it cannot be stored."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def visible_entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted by name, without those that start with a dot or an underscore."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "_")))


def printable_name(path: Path) -> str:
    """Return a file's name as valid UTF-8; undecodable bytes are replaced."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def to_text(value: Any) -> str:
    """Convert a value to text.

    None and NaN become the empty text, an integral float loses its decimals (1.0 becomes 1), and a list of texts is
    joined by spaces.
    """
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if is_text_list(value):
        return " ".join(value)
    return str(value)


def is_text_list(value: Any) -> bool:
    """Return whether a value is a list of texts only."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _printable(name: str) -> str:
    return " ".join(name.split()).encode("utf-8", "backslashreplace").decode("utf-8")
