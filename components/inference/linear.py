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

from textgate.components.contracts import LinearRuntime, TextNormalizer
from textgate.components.contracts.probabilities import softmax
from textgate.components.inference.predictor import PartialPrediction

ARRAYS = "model.safetensors"
VOCABULARY = "vocabulary.json"

# The default token_pattern of scikit-learn's text vectorizers.
_WORD = re.compile(r"(?u)\b\w\w+\b")


class LinearPredictor:
    """Predictor over ``model.safetensors`` and ``vocabulary.json``.

    The file holds idf (terms,), weights (labels, terms) and bias (labels,), all float64.

    Args:
        folder: Folder of the bundle.
        normalizer: Applied to each text before its terms are counted.
        runtime: The n-gram lengths and how counts are weighted.
    """

    def __init__(self, folder: Path, normalizer: TextNormalizer, runtime: LinearRuntime) -> None:
        arrays = load_file(folder / ARRAYS)
        self._idf, self._bias = arrays["idf"], arrays["bias"]
        # One row per term, so that a text gathers contiguous memory.
        self._weights = np.ascontiguousarray(arrays["weights"].T)
        terms = json.loads((folder / VOCABULARY).read_text("utf-8"))
        self._column = {term: column for column, term in enumerate(terms)}
        self._normalizer, self._runtime = normalizer, runtime

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        logits = np.array([self._logits(text) for text in texts]).reshape(-1, len(self._bias))
        return softmax(logits)

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

    def _terms(self, text: str) -> list[str]:
        tokens = words(self._normalizer(text))
        shortest, longest = self._runtime.ngrams
        return [
            " ".join(tokens[start : start + size])
            for size in range(shortest, longest + 1)
            for start in range(len(tokens) - size + 1)
        ]


def words(text: str) -> list[str]:
    """Return the lower-cased words of a normalized text, as scikit-learn's text vectorizers tokenize it."""
    return _WORD.findall(text.lower())
