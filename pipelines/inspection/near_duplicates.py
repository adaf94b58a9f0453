"""Near duplicates by MinHash: texts that share most of their shingles of three characters.

Of each text 120 minima are kept. Texts that agree in all five of one of 24 bands are compared, and are near duplicates
if they agree in 65 % of the minima, an estimate of the Jaccard similarity of their shingles with a standard error of
0.04. Of texts under 20 characters a changed word changes the meaning more than the shingles say; they are left out.
Sources: Broder, On the Resemblance and Containment of Documents, 1997; Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, section 3.4.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import rensa

from textgate.components.contracts.text_keys import canonical_text

MAX_CHARACTERS = 20_000_000
"""Characters of the texts that ``NearDuplicateFinder`` takes: those of the first rows."""
THRESHOLD = 0.65
"""Smallest Jaccard similarity of near duplicates."""
_SHINGLE = 3
_SHORTEST, _LONGEST = 20, 2_000
"""Characters from which on texts are compared, and characters that count."""
_BANDS, _ROWS_PER_BAND = 24, 5
_SEED = 13
_BATCH = 1_000

Digests = npt.NDArray[np.uint32]


class NearDuplicateFinder:
    """Collector of MinHash digests, 480 bytes a text."""

    def __init__(self) -> None:
        self.texts = 0
        """Number of texts that were taken."""
        self._characters = 0
        self._long_enough = bytearray()
        self._shingles: list[list[str]] = []
        self._digests: list[Digests] = []

    def add(self, text: str) -> None:
        """Take a text, unless the texts before have more than ``MAX_CHARACTERS``."""
        if self._characters > MAX_CHARACTERS:
            return
        canonical = canonical_text(text)[:_LONGEST]
        self._long_enough.append(len(canonical) >= _SHORTEST)
        self._characters += len(canonical)
        self.texts += 1
        self._shingles.append(
            [canonical[start : start + _SHINGLE] for start in range(max(len(canonical) - _SHINGLE, 0) + 1)]
        )
        if len(self._shingles) == _BATCH:
            self._flush()

    def groups(self, rows: npt.NDArray[np.int64]) -> list[list[int]]:
        """Return the groups of two or more near duplicates among some of the texts.

        Args:
            rows: Indexes of texts in the order of ``add``, ascending; those that were not taken are left out.
        """
        self._flush()
        taken = rows[rows < self.texts]
        taken = taken[np.frombuffer(self._long_enough, np.bool_)[taken]]
        if len(taken) < 2:
            return []
        digests = np.concatenate(self._digests)[taken]
        parents = np.arange(len(taken))
        for band in range(_BANDS):
            part = np.ascontiguousarray(digests[:, band * _ROWS_PER_BAND : (band + 1) * _ROWS_PER_BAND])
            hashes = part.view(np.dtype((np.void, part.dtype.itemsize * _ROWS_PER_BAND))).ravel()
            _, bucket = np.unique(hashes, return_inverse=True)
            order = np.argsort(bucket, kind="stable")
            # Neighbours in a bucket are compared, which other bands complement; all pairs would be quadratic.
            first, second = order[:-1], order[1:]
            same = bucket[first] == bucket[second]
            first, second = first[same], second[same]
            similar = (digests[first] == digests[second]).mean(axis=1) >= THRESHOLD
            for one, other in zip(first[similar].tolist(), second[similar].tolist(), strict=True):
                parents[_root(parents, other)] = _root(parents, one)
        members: dict[int, list[int]] = {}
        for index in range(len(taken)):
            members.setdefault(_root(parents, index), []).append(int(taken[index]))
        return [group for group in members.values() if len(group) > 1]

    def _flush(self) -> None:
        if self._shingles:
            matrix = rensa.RMinHash.digest_matrix_from_token_sets(self._shingles, _BANDS * _ROWS_PER_BAND, _SEED)
            self._digests.append(np.array(matrix.to_rows(), dtype=np.uint32))
            self._shingles = []


def _root(parents: npt.NDArray[np.int64] | Sequence[int], index: int) -> int:
    while (parent := int(parents[index])) != index:
        index = parent
    return index
