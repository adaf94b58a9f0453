"""Near duplicates among the first texts of a source, as preprocess finds them."""

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Preprocess
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.near_duplicates import near_duplicates
from textgate.components.preprocess.signatures import Signatures

MAX_CHARACTERS = 20_000_000
"""Characters of the texts that ``NearDuplicateFinder`` takes: those of the first rows."""
THRESHOLD = Preprocess().near_duplicates or 1.0
"""Smallest Jaccard index of near duplicates."""


class NearDuplicateFinder:
    """Collector of texts; their signatures are in a temporary file until ``groups`` is called."""

    def __init__(self) -> None:
        self.texts = 0
        """Number of texts that were taken."""
        self._characters = 0
        self._signatures = Signatures(Path(tempfile.gettempdir()))

    def add(self, text: str) -> None:
        """Take a text, unless the texts before have more than ``MAX_CHARACTERS``."""
        if self._characters > MAX_CHARACTERS:
            return
        canonical = canonical_text(text)
        self._characters += len(canonical)
        self.texts += 1
        self._signatures.add(canonical)

    def groups(self, rows: npt.NDArray[np.int64]) -> list[list[int]]:
        """Return the groups of two or more near duplicates among some of the texts. Call it once.

        Args:
            rows: Indexes of texts in the order of ``add``, ascending; those that were not taken are left out.
        """
        taken = rows[rows < self.texts]
        with self._signatures:
            self._signatures.flush()
            first = near_duplicates(self._signatures, taken.astype(np.int32), THRESHOLD)
        members: dict[int, list[int]] = {}
        for row, group in zip(taken.tolist(), first.tolist(), strict=True):
            members.setdefault(group, []).append(row)
        return [group for group in members.values() if len(group) > 1]
