"""Protocols of predictors: probabilities of all texts at once, or batch by batch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from textgate.components.contracts.probabilities import apply_temperature, softmax
from textgate.components.inference.failures import PredictionError

_CHARACTERS_PER_TOKEN = 128
"""Characters of a text that are read per token of the model's maximum. English has 4.5, its HTML rarely 50."""
_FEWEST_CHARACTERS = 16_384
"""Characters that are read of any text, so that a short maximum does not lose the text behind a long head."""


def characters_read(max_tokens: int) -> int:
    """Return how many characters of a text are cleaned and tokenized for a model that reads ``max_tokens`` tokens."""
    return max(max_tokens * _CHARACTERS_PER_TOKEN, _FEWEST_CHARACTERS)


@dataclass(frozen=True)
class PartialPrediction:
    """Result of one batch of the texts that were passed to ``predict_batches``."""

    rows: npt.NDArray[np.int64]
    """Indices of the batch's texts, (n,)."""
    probabilities: npt.NDArray[np.float64]
    """(n, labels), rows summing to 1."""
    truncated: npt.NDArray[np.bool_]
    """(n,) True where the text is longer than the model's maximum, so that its end was cut off."""
    tokens: int
    """Number of tokens in the batch without padding; 0 for a model without a tokenizer."""


def assemble(batches: Iterable[PartialPrediction], texts: int, labels: int) -> npt.NDArray[np.float64]:
    """Return the probabilities (texts, labels) of ``batches`` that together cover every text, in the texts' order."""
    probabilities = np.empty((texts, labels))
    for batch in batches:
        probabilities[batch.rows] = batch.probabilities
    return probabilities


def finite_softmax(logits: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the probabilities (n, labels) of ``logits`` (n, labels).

    Args:
        logits: Output of a model.
        rows: Index of each text, (n,), for the message.

    Raises:
        PredictionError: A logit is NaN or infinite; the message names the texts.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        guilty = rows[~finite]
        names = ", ".join(map(str, guilty[:10])) + (" and more" if len(guilty) > 10 else "")
        raise PredictionError(f"the model's output is not finite for the texts with the index {names}")
    return softmax(logits)


class Predictor(Protocol):
    """Predictor of one bundle."""

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return probabilities (len(texts), labels) float64, rows summing to 1, columns in the bundle's label order.

        Args:
            texts: Raw texts; the predictor normalizes them as the bundle's training texts were.
        """
        ...


@runtime_checkable
class StreamingPredictor(Predictor, Protocol):
    """Predictor that yields results batch by batch (used by the server)."""

    def predict_batches(self, texts: Sequence[str]) -> Iterator[PartialPrediction]:
        """Yield the probabilities of ``predict_proba`` batch by batch; every text is in exactly one batch."""
        ...


@runtime_checkable
class ServedPredictor(StreamingPredictor, Protocol):
    """Predictor of a bundle's runtime."""

    @property
    def labels(self) -> int:
        """Number of probabilities per text."""
        ...

    def check(self) -> None:
        """Try what a few texts do not reach, such as the largest token id and the longest input.

        Raises:
            InputError: The model fails on something that a text may contain.
        """
        ...


class CalibratedPredictor:
    """Predictor whose probabilities are scaled by a temperature."""

    def __init__(self, predictor: Predictor, temperature: float) -> None:
        self.predictor, self._temperature = predictor, temperature

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        return apply_temperature(self.predictor.predict_proba(texts), self._temperature)
