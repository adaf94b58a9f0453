"""Splits that a source comes with: their use by their names, and the row filter that selects some of them."""

import json
import keyword
import re
from collections.abc import Iterable
from typing import Literal

SplitRole = Literal["train", "validation", "test"]

# The names that the library datasets looks for (datasets.data_files.SPLIT_KEYWORDS).
_ROLES: dict[str, SplitRole] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def split_role(name: str) -> SplitRole | None:
    """Return the use of a split by a word of its name, such as ``test`` of ``imdb_test``; None if no word tells."""
    for word in re.split(r"[^a-z]+", name.lower()):
        if word in _ROLES:
            return _ROLES[word]
    return None


def split_filter(column: str, names: Iterable[str]) -> str | None:
    """Return the row filter that selects the splits ``names``; None if a filter cannot name the column."""
    if not _is_word(column):
        return None
    values = [name if _is_word(name) else json.dumps(name, ensure_ascii=False) for name in sorted(names)]
    return f"{column} == {values[0]}" if len(values) == 1 else f"{column} in [{', '.join(values)}]"


def _is_word(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)
