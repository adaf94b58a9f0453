"""Contradictions between given splits: rows that are copies of test texts but have another label than these."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from textgate.components.contracts import Rejected
from textgate.components.contracts.label_counts import CopiesOfTest
from textgate.components.preprocess.outcomes import CODE, GIVEN, TEST
from textgate.components.preprocess.texts import Texts
from textgate.components.step import WARNING_PREFIX


class CopyCounter:
    """Counter of the rows that are rejected as copies of texts in the given test split."""

    def __init__(self, texts: Texts, labels: Sequence[str]) -> None:
        """Find the labels of the test texts that have copies elsewhere.

        Args:
            texts: Texts with their outcomes.
            labels: Label names of the ingested dataset.
        """
        self._labels: dict[int, set[str]] = {}
        """Number of a rejected text to the labels of the test texts that it is a copy of."""
        kept = texts.outcome == CODE[TEST]
        for reason, identity in ((GIVEN[TEST].also, texts.content), (GIVEN[TEST].copy, texts.key)):
            copies, found = np.flatnonzero(texts.outcome == CODE[reason]), defaultdict[int, set[str]](set)
            for number in np.flatnonzero(kept & np.isin(identity, identity[copies])):
                found[int(identity[number])].add(labels[texts.label[number]])
            self._labels |= {int(number): found[int(identity[number])] for number in copies}
        self._rows = self._contradictions = 0

    def add(self, text: int, row: Rejected) -> None:
        """Count a rejected row if it is a copy; ``text`` is the number of its text."""
        labels = self._labels.get(text)
        if labels:
            self._rows += 1
            self._contradictions += row.label not in labels

    def counts(self) -> CopiesOfTest:
        """Return the counts; print a warning if there are contradictions."""
        counts = CopiesOfTest(rows=self._rows, contradictions=self._contradictions)
        if counts.contradictions:
            print(f"{WARNING_PREFIX}{counts.message}", flush=True)
        return counts
