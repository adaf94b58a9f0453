"""Test split of the latest texts, which tells how a model does on texts that are written after its training.

Random splits overestimate that, because language and topics change (Søgaard et al., We Need to Talk About Random
Splits, EACL 2021; Lazaridou et al., Mind the Gap: Assessing Temporal Generalization in Neural Language Models, NeurIPS
2021).
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import InputError, Row
from textgate.components.preprocess.outcomes import CODE, EARLIER_COPY, NEAR_EARLIER, PENDING, TEST
from textgate.components.preprocess.texts import Floats, Integers


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


def split_by_time(
    time: Floats,
    key: Integers,
    near: Integers,
    label: Integers,
    labels: Sequence[str],
    share: float,
    column: TimeColumn,
) -> tuple[float, npt.NDArray[np.uint8]]:
    """Choose the test split: the texts from some time on, except copies and near duplicates of earlier texts.

    It is about ``share`` of the texts, and texts of one time are together. A text that has copies or near duplicates
    counts at the time of the earliest.

    Args:
        time: Earliest time of each text, (n,).
        key: Number of the key of each text, (n,).
        near: Number of the group of near duplicates of each text, (n,).
        label: Label code of each text, (n,).
        labels: Label names.
        share: Share of the test split.
        column: Column of the times.

    Returns:
        Time of the earliest test texts; outcome of each text, (n,): the test split, a copy, or pending.

    Raises:
        InputError: All texts have the same time, or a label has no text in the test split.
    """
    earliest = _earliest(time, near)
    start = _start(earliest, column, share)
    outcome = np.full(len(time), PENDING, np.uint8)
    outcome[time >= start] = CODE[NEAR_EARLIER]
    outcome[(time >= start) & (_earliest(time, key) < start)] = CODE[EARLIER_COPY]
    outcome[earliest >= start] = CODE[TEST]
    present = np.unique(label[outcome == CODE[TEST]])
    for code, name in enumerate(labels):
        if code not in present:
            raise InputError(
                f"the test split, the texts from {column.name} {column.text(start)} on, has no text of the label "
                f"{name!r}: increase preprocess.test ({share:g}), or leave out preprocess.test_latest_by"
            )
    return start, outcome


def _start(earliest: Floats, column: TimeColumn, share: float) -> float:
    times, counts = np.unique(earliest, return_counts=True)
    if len(times) < 2:
        raise InputError(
            f"the column {column.name!r} of preprocess.test_latest_by has the same time in every row that can be kept: "
            "name a column that tells them apart, or leave out preprocess.test_latest_by"
        )
    from_each = counts[::-1].cumsum()[::-1]
    return float(times[1:][np.abs(from_each[1:] - share * len(earliest)).argmin()])


def _earliest(time: Floats, group: Integers) -> Floats:
    """Return the earliest time in the group of each text, (n,)."""
    earliest = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(earliest, group, time)
    return earliest[group]


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
