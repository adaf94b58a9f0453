"""Predictor of linear bundles: weighted n-gram counts and a linear layer, in plain numpy.

It counts terms as scikit-learn's TfidfVectorizer does, without scikit-learn.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from textgate.components.contracts import InputError, LinearRuntime, TextNormalizer
from textgate.components.inference.failures import failures_as
from textgate.components.inference.predictor import PartialPrediction, finite_softmax

ARRAYS = "model.safetensors"
VOCABULARY = "vocabulary.json"

_LARGEST_VOCABULARY = 256 * 2**20
"""Bytes of ``vocabulary.json``; a million terms take about 20 MB."""

# The default token_pattern of scikit-learn's text vectorizers.
_WORD = re.compile(r"(?u)\b\w\w+\b")


class LinearPredictor:
    """Predictor over ``model.safetensors`` and ``vocabulary.json``.

    The file holds idf (terms,), weights (labels, terms) and bias (labels,), all float64.

    Args:
        folder: Folder of the bundle.
        normalizer: Applied to each text before its terms are counted.
        runtime: The n-gram lengths and how counts are weighted.

    Raises:
        InputError: A file cannot be read, an array has another shape or type or is not finite, or the vocabulary is
            not one different term per column.
    """

    def __init__(self, folder: Path, normalizer: TextNormalizer, runtime: LinearRuntime) -> None:
        self._idf, weights, self._bias = _read_arrays(folder / ARRAYS)
        # One row per term, so that a text gathers contiguous memory.
        self._weights = np.ascontiguousarray(weights.T)
        terms = _read_vocabulary(folder / VOCABULARY, len(self._idf))
        self._column = {term: column for column, term in enumerate(terms)}
        self._normalizer, self._runtime = normalizer, runtime

    @property
    def labels(self) -> int:
        """See ``ServedPredictor.labels``."""
        return len(self._bias)

    def check(self) -> None:
        """See ``ServedPredictor.check``; the arrays, from which a text selects rows, are checked when they are read."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        logits = np.array([self._logits(text) for text in texts]).reshape(-1, len(self._bias))
        return finite_softmax(logits, np.arange(len(texts)))

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``; all texts are one batch, since batching saves nothing here."""
        yield PartialPrediction(
            np.arange(len(texts)), self.predict_proba(texts), np.zeros(len(texts), dtype=np.bool_), tokens=0
        )

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weights (terms, labels) float64 of the linear layer."""
        return self._weights

    def features(self, text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the features of one text in sparse form.

        Returns:
            Column indices (n,) int64 of the n known terms in the text, and their weighted, normalized counts (n,)
            float64; both are empty for a text without a known term.
        """
        counts = Counter(column for term in self._terms(text) if (column := self._column.get(term)) is not None)
        columns = np.fromiter(counts.keys(), dtype=np.int64)
        frequency = np.fromiter(counts.values(), dtype=np.float64)
        if self._runtime.sublinear:
            frequency = 1 + np.log(frequency)
        features = frequency * self._idf[columns]
        norm = np.linalg.norm(features, ord=1 if self._runtime.norm == "l1" else 2)
        return columns, features / norm if counts else features

    def _logits(self, text: str) -> npt.NDArray[np.float64]:
        columns, features = self.features(text)
        return np.asarray(features @ self._weights[columns] + self._bias)

    def _terms(self, text: str) -> Iterator[str]:
        tokens = words(self._normalizer(text))
        shortest, longest = self._runtime.ngrams
        for size in range(shortest, longest + 1):
            for start in range(len(tokens) - size + 1):
                yield " ".join(tokens[start : start + size])


def words(text: str) -> list[str]:
    """Return the lower-cased words of a normalized text, as scikit-learn's text vectorizers tokenize it."""
    return _WORD.findall(text.lower())


def _read_arrays(path: Path) -> list[npt.NDArray[np.float64]]:
    """Return idf (terms,), weights (labels, terms) and bias (labels,)."""
    with failures_as(InputError, f"{path} cannot be read"):
        arrays = load_file(path)
    terms, labels = (arrays[name].size if name in arrays else 0 for name in ("idf", "bias"))
    expected = {"idf": (terms,), "weights": (labels, terms), "bias": (labels,)}
    if {name: (array.shape, array.dtype) for name, array in arrays.items()} != {
        name: (shape, np.dtype(np.float64)) for name, shape in expected.items()
    }:
        found = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in sorted(arrays.items())[:8])
        raise InputError(
            f"{path} must hold idf (terms,), weights (labels, terms) and bias (labels,) in float64, but has {found}"
        )
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{path}: the numbers of {name} are not all finite")
    return [arrays["idf"], arrays["weights"], arrays["bias"]]


def _read_vocabulary(path: Path, terms: int) -> list[str]:
    """Return the term of each column."""
    with failures_as(InputError, f"{path} cannot be read"):
        if path.stat().st_size > _LARGEST_VOCABULARY:
            raise InputError(f"{path} is larger than the maximum, {_LARGEST_VOCABULARY:,} bytes")
        vocabulary = json.loads(path.read_bytes())
    if not isinstance(vocabulary, list) or not all(isinstance(term, str) for term in vocabulary):
        raise InputError(f"{path} is not a list of terms")
    if len(vocabulary) != terms or len(set(vocabulary)) != terms:
        raise InputError(f"{path} must hold {terms} different terms, one per column of the weights")
    return vocabulary
