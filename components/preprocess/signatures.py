"""MinHash signatures of texts in a temporary file, so that memory does not hold them.

A signature has a number per permutation; two texts have the same number with the probability of their Jaccard index,
the share of their character shingles that both have (Broder, On the resemblance and containment of documents, SEQUENCES
1997). The file keeps the lowest 8 bits of each number (Li and König, b-Bit Minwise Hashing, WWW 2010).

Shingles are of the canonical text, which has no spaces, so they suit every script. Three characters find a changed word
also in a headline. Only the first 2,000 characters count, some 400 words: of longer texts, three characters would occur
in most. Of 20 characters or fewer, such as "good film", a changed word changes the meaning more than the shingles say,
so short texts have no near duplicates.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.preprocess.texts import Booleans, Floats, Integers

BANDS = 24
"""Number of bands; texts with a Jaccard index of 0.7 share one of them with a probability of 0.99, those with 0.3 with
0.06."""
_PER_BAND = 5
_PERMUTATIONS = BANDS * _PER_BAND
_SEED = 13
_SHINGLE = 3
_SHORTEST, _LONGEST = 20, 2_000
"""Characters from which on texts have near duplicates, and characters that count."""
_BATCH_CHARACTERS = 200_000
_ROWS_PER_READ = 10_000
_PAIRS_PER_READ = 4_096
_CHANCE = 1 / 2**8
"""Probability that the lowest bits of different numbers are equal."""


class Signatures:
    """Signatures of rows in a temporary file of 120 bytes per row, which is deleted when it is closed."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._batch: list[str] = []
        self._characters = 0
        self._long_enough = bytearray()

    def __enter__(self) -> "Signatures":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, canonical: str) -> None:
        """Add the signature of the next row from its canonical text."""
        self._long_enough.append(len(canonical) >= _SHORTEST)
        self._batch.append(canonical[:_LONGEST])
        self._characters += len(self._batch[-1]) + 1
        if self._characters >= _BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Write the pending signatures."""
        from rensa import RMinHash

        shingles = [[text[at : at + _SHINGLE] for at in range(len(text) - _SHINGLE + 1)] for text in self._batch]
        rows = RMinHash.digest_matrix_from_token_sets(shingles, _PERMUTATIONS, _SEED).to_rows()
        self._file.write(np.array(rows, np.uint32).astype(np.uint8).tobytes())
        self._file.flush()
        self._batch, self._characters = [], 0

    @property
    def long_enough(self) -> Booleans:
        """Whether each row has enough characters to have near duplicates, (rows,)."""
        return np.frombuffer(self._long_enough, np.bool_)

    def band(self, band: int) -> npt.NDArray[np.uint32]:
        """Return a hash (FNV-1a) of the numbers of one band, (rows,)."""
        codes = np.full(len(self._long_enough), 2_166_136_261, np.uint32)
        self._file.seek(0)
        for start in range(0, len(codes), _ROWS_PER_READ):
            content = self._file.read(_ROWS_PER_READ * _PERMUTATIONS)
            rows = np.frombuffer(content, np.uint8).reshape(-1, _PERMUTATIONS)
            chunk = codes[start : start + len(rows)]
            for column in range(band * _PER_BAND, (band + 1) * _PER_BAND):
                chunk ^= rows[:, column]
                chunk *= np.uint32(16_777_619)
        return codes

    def similarity(self, rows: Integers, others: Integers) -> Floats:
        """Estimate the Jaccard index of each row with the other one, (n,); the standard error is at most 0.046."""
        matches = np.empty(len(rows))
        for start in range(0, len(rows), _PAIRS_PER_READ):
            part = slice(start, start + _PAIRS_PER_READ)
            matches[part] = (self._read(rows[part]) == self._read(others[part])).mean(axis=1)
        return (matches - _CHANCE) / (1 - _CHANCE)

    def _read(self, rows: Integers) -> npt.NDArray[np.uint8]:
        descriptor = self._file.fileno()
        content = b"".join(os.pread(descriptor, _PERMUTATIONS, _PERMUTATIONS * row) for row in rows.tolist())
        return np.frombuffer(content, np.uint8).reshape(-1, _PERMUTATIONS)
