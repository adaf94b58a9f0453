"""Test split of the latest texts, which tells how a model does on texts that are written after its training.

Random splits overestimate that, because language and topics change (Søgaard et al., We Need to Talk About Random
Splits, EACL 2021; Lazaridou et al., Mind the Gap: Assessing Temporal Generalization in Neural Language Models, NeurIPS
2021).
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from textgate.components.contracts import InputError, Preprocess, Row
from textgate.components.preprocess.splitting import KeptText, split_texts

EARLIER_COPY = "copy of a text from before the test split"


class TimeColumn:
    """Column of ``source.metadata`` with the time of each row: ISO 8601, or numbers such as seconds since 1970."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._numeric: bool | None = None

    def time(self, row: Row) -> float:
        """Return the time of a row: the number, or seconds since 1970 of a date. Without an offset a date is in UTC.

        Raises:
            InputError: The row has no time that can be read, or a date where the rows before have numbers.
        """
        value = row.metadata[self.name]
        number, date = _number(value), _date(value)
        time = date if number is None else number
        if time is None or self._numeric not in (None, number is not None):
            expected = {
                True: "a number as in the rows before",
                False: "a date such as 2026-03-31 as in the rows before",
                None: "a date or time in ISO 8601, such as 2026-03-31 or 2026-03-31T12:00:00Z, or a number",
            }[self._numeric]
            raise InputError(
                f"{row.id} has {value!r} in the column {self.name!r} of preprocess.test_latest_by, which must be "
                f"{expected}: correct the row, or exclude it with source.where"
            )
        self._numeric = number is not None
        return time

    def text(self, time: float) -> str:
        """Return a time as the source has it: a number, or a date or time in UTC."""
        if self._numeric:
            return f"{time:.0f}" if time.is_integer() else repr(time)
        text = datetime.fromtimestamp(time, UTC).isoformat()
        return text.removesuffix("T00:00:00+00:00")


def start_of_test_split(texts: Mapping[bytes, KeptText], column: TimeColumn, share: float) -> float:
    """Return the time from which on the texts are the test split: about ``share`` of them, texts of one time together.

    A text that has copies counts at the time of the earliest.

    Raises:
        InputError: All texts have the same time.
    """
    earliest = _earliest(texts)
    times, counts = np.unique([earliest[text.key] for text in texts.values()], return_counts=True)
    if len(times) < 2:
        raise InputError(
            f"the column {column.name!r} of preprocess.test_latest_by has the same time in every row that can be kept: "
            "name a column that tells them apart, or leave out preprocess.test_latest_by"
        )
    from_each = counts[::-1].cumsum()[::-1]
    return float(times[1:][np.abs(from_each[1:] - share * len(texts)).argmin()])


def split_by_time(
    texts: Mapping[bytes, KeptText], labels: Sequence[str], settings: Preprocess, start: float, column: TimeColumn
) -> dict[bytes, str]:
    """Return the split of each text, or the reason to leave it out.

    The texts from ``start`` on are the test split, except copies of earlier texts, which are left out. ``split_texts``
    splits the others.

    Args:
        texts: Digest to text.
        labels: Label names.
        settings: Validation share, balance and seed.
        start: Time of the earliest test texts.
        column: Column of the times.

    Raises:
        InputError: A label has no text from ``start`` on, or too few before.
    """
    earliest = _earliest(texts)
    assigned = {
        digest: "test" if earliest[text.key] >= start else EARLIER_COPY
        for digest, text in texts.items()
        if text.time >= start
    }
    present = {texts[digest].label for digest, split in assigned.items() if split == "test"}
    for label in labels:
        if label not in present:
            raise InputError(
                f"the test split, the texts from {column.name} {column.text(start)} on, has no text of the label "
                f"{label!r}: increase preprocess.test ({settings.test:g}), or leave out preprocess.test_latest_by"
            )
    before = {digest: text for digest, text in texts.items() if digest not in assigned}
    until = f" before {column.name} {column.text(start)}"
    return assigned | split_texts(before, labels, settings, has_test=True, period=until)


def _earliest(texts: Mapping[bytes, KeptText]) -> dict[str, float]:
    """Return the earliest time of each key."""
    earliest: dict[str, float] = {}
    for text in texts.values():
        earliest[text.key] = min(text.time, earliest.get(text.key, math.inf))
    return earliest


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(value: str) -> float | None:
    try:
        date = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
