"""Weighted counts of n-grams and a linear layer from plain arrays, counting as scikit-learn's TfidfVectorizer does."""

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
    """``model.safetensors`` holds idf (terms,), weights (labels, terms) and bias (labels,), all float64."""

    def __init__(self, folder: Path, normalizer: TextNormalizer, runtime: LinearRuntime) -> None:
        arrays = load_file(folder / ARRAYS)
        self._idf, self._bias = arrays["idf"], arrays["bias"]
        # One row a term, so that a text gathers contiguous memory.
        self._weights = np.ascontiguousarray(arrays["weights"].T)
        terms = json.loads((folder / VOCABULARY).read_text("utf-8"))
        self._column = {term: column for column, term in enumerate(terms)}
        self._normalizer, self._runtime = normalizer, runtime

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        logits = np.array([self._logits(text) for text in texts]).reshape(-1, len(self._bias))
        return softmax(logits)

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """See ``StreamingPredictor.predict_batches``: one part, since a text costs no less beside others."""
        yield PartialPrediction(
            np.arange(len(texts)), self.predict_proba(texts), np.zeros(len(texts), dtype=np.bool_), tokens=0
        )

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """(terms, labels): what each term adds to the logits."""
        return self._weights

    def features(self, text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Numbers of the terms a text has, and their weighted counts; none for a text without a known term."""
        counts = Counter(column for term in self._terms(text) if (column := self._column.get(term)) is not None)
        columns = np.fromiter(counts.keys(), dtype=np.int64)
        frequency = np.fromiter(counts.values(), dtype=np.float64)
        if self._runtime.sublinear:
            frequency = 1 + np.log(frequency)
        features = frequency * self._idf[columns]
        length = np.linalg.norm(features, ord=1 if self._runtime.norm == "l1" else 2)
        return columns, features / length if counts else features

    def _logits(self, text: str) -> npt.NDArray[np.float64]:
        columns, features = self.features(text)
        return np.asarray(features @ self._weights[columns] + self._bias)

    def _terms(self, text: str) -> list[str]:
        found = words(self._normalizer(text))
        shortest, longest = self._runtime.ngrams
        return [
            " ".join(found[start : start + size])
            for size in range(shortest, longest + 1)
            for start in range(len(found) - size + 1)
        ]


def words(text: str) -> list[str]:
    """The words of a cleaned text, lower-cased, as scikit-learn's text vectorizers find them."""
    return _WORD.findall(text.lower())
