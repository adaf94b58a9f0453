"""Given splits of a source, and the texts that they share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textgate.pipelines.inspection.duplicates import shared_texts
from textgate.pipelines.inspection.examples import Examples, RowGroup
from textgate.pipelines.inspection.inspection import SplitLeak, SplitStatistics
from textgate.pipelines.inspection.row_table import RowTable, rows_by_number
from textgate.pipelines.inspection.splits import SplitRole, split_role

_ROLE_ORDER: list[SplitRole] = ["train", "validation", "test"]


class Leak(NamedTuple):
    """Texts that two splits share, before their examples are read."""

    first: str
    second: str
    rows: int
    exact: int
    exact_contradicting: int
    copies: int
    copies_contradicting: int
    groups: list[RowGroup]

    def with_examples(self, examples: Examples) -> SplitLeak:
        """Return the leak with its examples."""
        values = self._asdict()
        return SplitLeak(examples=examples.show(values.pop("groups")), **values)


def split_statistics(table: RowTable) -> list[SplitStatistics]:
    """Return the given splits in the order train, validation, test, others; none unless two have a known use."""
    names, labels = list(table.splits), list(table.labels)
    if len({split_role(name) for name in names} - {None}) < 2:
        return []
    groups = rows_by_number(table.split_numbers, len(names))
    numbers = table.label_numbers
    statistics = []
    for name, rows in zip(names, groups, strict=True):
        counts = np.bincount(numbers[rows], minlength=len(labels)).tolist()
        by_label = {label: count for label, count in zip(labels, counts, strict=True) if count}
        statistics.append(SplitStatistics(name=name, role=split_role(name), rows=len(rows), labels=by_label))
    return sorted(statistics, key=lambda each: (_role_rank(each.role), each.name))


def _role_rank(role: SplitRole | None) -> int:
    return _ROLE_ORDER.index(role) if role else len(_ROLE_ORDER)


def find_leaks(table: RowTable, splits: Sequence[SplitStatistics]) -> list[Leak]:
    """Compare each split with the splits of the uses before its own: test with train and validation, and so on."""
    known = [each for each in splits if each.role]
    if not known:
        return []
    numbers, labels, digests, keys = table.split_numbers, table.label_numbers, table.digests, table.keys
    rows = {each.name: np.flatnonzero(numbers == table.splits[each.name]) for each in known}
    leaks = []
    for second in known:
        for first in known:
            if _role_rank(first.role) < _role_rank(second.role):
                exact = shared_texts(digests, labels, rows[first.name], rows[second.name])
                copies = shared_texts(keys, labels, rows[first.name], rows[second.name])
                leaks.append(Leak(first.name, second.name, second.rows, exact.rows, exact.contradicting, *copies))
    return leaks
