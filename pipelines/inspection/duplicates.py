"""Duplicates, conflicting labels and texts that two given splits share, from the hashes in a ``RowTable``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from textgate.pipelines.inspection.examples import RowGroup
from textgate.pipelines.inspection.near_duplicates import NearDuplicateFinder
from textgate.pipelines.inspection.row_table import Ints, Keys, RowTable

MAX_EXAMPLES = 3
_ROWS_SHOWN = 4


@dataclass(frozen=True)
class DuplicateCounts:
    """Numbers of rows that repeat others, with the groups to show as examples."""

    exact: int
    copies: int
    conflicting_texts: int
    conflicting_rows: int
    near_compared: int
    near_texts: int
    near_conflicting: int
    exact_groups: list[RowGroup]
    conflict_groups: list[RowGroup]
    near_groups: list[RowGroup]


class SharedTexts(NamedTuple):
    """Rows of one split whose text is in another one, with examples."""

    rows: int
    contradicting: int
    groups: list[RowGroup]


def count_duplicates(table: RowTable, near: NearDuplicateFinder) -> DuplicateCounts:
    """Count exact duplicates, copies, conflicting labels and near duplicates."""
    labels = table.label_numbers
    texts, text_counts = np.unique(table.digests, return_counts=True)
    keys, first, inverse, counts = np.unique(table.keys, return_index=True, return_inverse=True, return_counts=True)
    label_counts = _labels_by_group(inverse, labels, len(keys))
    conflicting = label_counts > 1
    distinct = np.sort(first)
    near_groups = near.groups(distinct)
    conflicting_groups = [group for group in near_groups if len(set(labels[group].tolist())) > 1]
    # Groups with different labels first, then the largest.
    near_shown = sorted(near_groups, key=lambda group: (-len(set(labels[group].tolist())), -len(group), group))
    return DuplicateCounts(
        exact=len(table) - len(texts),
        copies=len(texts) - len(keys),
        conflicting_texts=int(conflicting.sum()),
        conflicting_rows=int(counts[conflicting].sum()),
        near_compared=int((distinct < near.texts).sum()),
        near_texts=sum(map(len, near_groups)),
        near_conflicting=sum(map(len, conflicting_groups)),
        exact_groups=_largest_groups(table.digests, texts[text_counts > 1], text_counts[text_counts > 1], labels),
        conflict_groups=_largest_groups(table.keys, keys[conflicting], counts[conflicting], labels),
        near_groups=[RowGroup(len(group), group[:_ROWS_SHOWN]) for group in near_shown[:MAX_EXAMPLES]],
    )


def shared_texts(hashes: Keys, labels: Ints, first: Ints, second: Ints) -> SharedTexts:
    """Count the rows of a split whose text is in another one, and those that contradict all its labels there.

    Args:
        hashes: Hash of each row's text (n,).
        labels: Number of each row's label (n,).
        first: Indexes of the rows of the one split.
        second: Indexes of the rows of the other split, which are counted.
    """
    shared = np.isin(hashes[second], hashes[first])
    agrees = np.isin(_pairs(hashes[second], labels[second]), _pairs(hashes[first], labels[first]))
    contradicting = second[shared & ~agrees]
    others = second[shared & agrees]
    groups = []
    for row in [*contradicting[:MAX_EXAMPLES].tolist(), *others[:MAX_EXAMPLES].tolist()][:MAX_EXAMPLES]:
        same = first[hashes[first] == hashes[row]]
        groups.append(RowGroup(len(same) + 1, [int(same[0]), row]))
    return SharedTexts(int(shared.sum()), len(contradicting), groups)


def _pairs(hashes: Keys, labels: Ints) -> Keys:
    """Mix the label into each hash (n,) by an odd constant, as splitmix64 does, so that pairs are told apart."""
    return hashes ^ ((labels.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))


def _labels_by_group(groups: Ints, labels: Ints, count: int) -> Ints:
    """Return the number of different labels of each group (count,)."""
    pairs = np.unique(groups * (int(labels.max(initial=0)) + 1) + labels)
    return np.bincount(pairs // (int(labels.max(initial=0)) + 1), minlength=count)


def _largest_groups(hashes: Keys, values: Keys, counts: Ints, labels: Ints) -> list[RowGroup]:
    """Return the groups with the most rows; of equally large ones those with the smallest hash."""
    largest = np.argsort(-counts, kind="stable")[:MAX_EXAMPLES]
    return [
        RowGroup(int(counts[index]), _shown_rows(np.flatnonzero(hashes == values[index]), labels)) for index in largest
    ]


def _shown_rows(rows: Ints, labels: Ints) -> list[int]:
    """Return a few of the rows, the first of each label before others."""
    _, first = np.unique(labels[rows], return_index=True)
    chosen: Sequence[int] = [*np.sort(rows[first]).tolist(), *np.delete(rows, first).tolist()]
    return sorted(chosen[:_ROWS_SHOWN])
