"""Labels that may be one class in several spellings, and labels that look like a missing value."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

from textgate.components.contracts.stream_safe import stream_safe
from textgate.components.ingest.labels import MISSING_MARKERS

_SEPARATORS = re.compile(r"[\s_-]+")
_MISSING = frozenset(map(str.lower, MISSING_MARKERS)) | {
    *("?", "-", "--", "undefined", "unknown", "missing", "empty", "nil", "(blank)", "tbd"),
}
"""Texts that pandas reads as a missing value, and what spreadsheets are filled with, in lower case."""


def is_missing_marker(label: str) -> bool:
    """Return whether a label looks like a missing value, such as ``NaN`` or ``N/A``."""
    return label.strip().lower() in _MISSING


def spelling_groups(labels: Iterable[str]) -> list[list[str]]:
    """Return the groups of two or more labels that may be one class, each sorted.

    Labels are alike if they differ in case, white space, hyphens, underscores or Unicode compatibility normalization
    (NFKC), or are the same number, such as ``1``, ``01`` and ``1.0``.
    """
    groups: dict[str, list[str]] = {}
    for label in sorted(labels):
        groups.setdefault(_canonical_label(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _canonical_label(label: str) -> str:
    try:
        number = Decimal(label.strip())
        if number.is_finite():
            return f"number {number.normalize() + 0}"
    except ArithmeticError:
        pass
    folded = unicodedata.normalize("NFKC", stream_safe(label)).casefold()
    return f"text {_SEPARATORS.sub('', folded) or folded}"
