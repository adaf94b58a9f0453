"""Tables of rows and of distinct texts, as arrays with a few numbers each: ten million rows take some 300 MB.

``RowTable`` collects the rows in the order of the source, and ``distinct_texts`` finds the texts among them by sorting
their digests.
"""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.text_keys import Keys
from textgate.components.preprocess.outcomes import ANOTHER_LANGUAGE, CODE, CONFLICTING_LABEL, EMPTY_TEXT, PENDING

T = TypeVar("T", bound=np.generic)
Integers = npt.NDArray[np.integer]
Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
_EMPTY = hashlib.blake2b(digest_size=16).digest()


class RowTable:
    """Columns of the rows read so far."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._label_code = {label: code for code, label in enumerate(labels)}
        self.digests, self.foreign = bytearray(), bytearray()
        self.keys, self.labels, self.parts = array("Q"), array("H"), array("B")
        self.times, self.groups = array("d"), array("Q")

    def add(self, part: int, text: str, label: str, key: str, usable: bool) -> None:
        """Add a row. Its time and its group are added to ``times`` and ``groups``, of every row or of none.

        Args:
            part: Number of the ingested split.
            text: Cleaned text.
            label: Label name.
            key: Key of the raw text.
            usable: Whether the text is in the recipe's language.
        """
        self.foreign.append(not usable)
        self.digests += hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
        self.keys.append(int(key, 16))
        self.labels.append(self._label_code[label])
        self.parts.append(part)


@dataclass(frozen=True)
class Texts:
    """Distinct cleaned texts of each ingested split, ordered by digest; arrays (n,)."""

    content: Integers
    """Number of the digest: equal for a text that is in several ingested splits. Empty if there is one only."""
    part: Integers
    """Number of the ingested split."""
    label: Integers
    """Label code."""
    key: Keys
    """Key of the raw text; the smallest one if only the cleaning made raw texts equal."""
    row: Integers
    """Row to keep: the first one, or the earliest one if rows have times."""
    keyed_row: Integers
    """A row whose raw text has the key."""
    group: Keys | None
    """Hash of the group of the row to keep; None if rows have no groups."""
    time: Floats | None
    """Earliest time; None if rows have no times."""
    outcome: npt.NDArray[np.uint8]
    """Code of the split or of the reason of rejection; ``PENDING`` before it is known."""
    of_row: Integers
    """Number of the text of each row."""

    @property
    def pending(self) -> Integers:
        """Numbers of the texts without an outcome."""
        return np.flatnonzero(self.outcome == PENDING).astype(np.int32)


def distinct_texts(rows: RowTable) -> Texts:
    """Return the distinct texts of each ingested split.

    Texts that are empty, in another language or have rows with different labels have that as their outcome. The columns
    that are no longer needed are emptied.
    """
    high, low = (np.frombuffer(rows.digests, ">u8")[half::2].astype(np.uint64) for half in (0, 1))
    rows.digests = bytearray()
    time = np.frombuffer(rows.times, np.float64) if rows.times else None
    part = np.frombuffer(rows.parts, np.uint8)
    # The order is stable, so rows of one text stay in the order of the source.
    order = np.lexsort((part, low, high) if time is None else (time, part, low, high))
    content_starts = run_starts(high[order]) | run_starts(low[order])
    text_starts = content_starts | run_starts(part[order])
    is_empty = (high == int.from_bytes(_EMPTY[:8])) & (low == int.from_bytes(_EMPTY[8:]))
    del high, low
    starts = np.flatnonzero(text_starts)
    of_row = np.empty(len(order), np.int32)
    of_row[order] = text_starts.cumsum(dtype=np.int32) - 1
    label = np.frombuffer(rows.labels, np.uint16)[order]
    smallest = np.minimum.reduceat(label, starts) if len(starts) else label
    largest = np.maximum.reduceat(label, starts) if len(starts) else label
    row_key = np.frombuffer(rows.keys, np.uint64)
    key = np.minimum.reduceat(row_key[order], starts) if len(starts) else row_key
    row = order[starts].astype(np.int32)
    del order
    has_key = np.flatnonzero(row_key == key[of_row])[::-1]
    keyed_row = np.empty(len(starts), np.int32)
    keyed_row[of_row[has_key]] = has_key
    outcome = np.full(len(starts), PENDING, np.uint8)
    outcome[smallest != largest] = CODE[CONFLICTING_LABEL]
    outcome[np.frombuffer(rows.foreign, np.bool_)[row]] = CODE[ANOTHER_LANGUAGE]
    outcome[is_empty[row]] = CODE[EMPTY_TEXT]
    del row_key
    rows.keys, rows.labels = array("Q"), array("H")
    return Texts(
        content=(content_starts.cumsum(dtype=np.int32) - 1)[starts] if part.any() else np.empty(0, np.int32),
        part=part[row],
        label=smallest,
        key=key,
        row=row,
        keyed_row=keyed_row,
        group=np.frombuffer(rows.groups, np.uint64)[row] if rows.groups else None,
        time=None if time is None else time[row],
        outcome=outcome,
        of_row=of_row,
    )


def group_hash(value: str) -> int:
    """Return the hash of a value of ``preprocess.group``, 64 bits; 0 of an empty one, which is no group."""
    return int.from_bytes(hashlib.blake2b(value.encode("utf-8"), digest_size=8).digest()) if value else 0


def distinct(values: npt.NDArray[T]) -> tuple[npt.NDArray[T], Integers]:
    """Return the distinct values, ascending, and the index of each value in them, (n,).

    It takes a third of the memory of ``np.unique``.
    """
    order = np.argsort(values, kind="stable").astype(np.int32)
    ordered = values[order]
    starts = run_starts(ordered)
    index = np.empty(len(values), np.int32)
    index[order] = starts.cumsum(dtype=np.int32) - 1
    return ordered[starts], index


def run_starts(values: npt.NDArray[np.generic]) -> Booleans:
    """Return where a run of equal values starts, (n,)."""
    return np.concatenate([np.ones(min(1, len(values)), np.bool_), values[1:] != values[:-1]])
