"""Predictors for the tests of evaluate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, LinearTraining, ModelBundle
from textgate.components.families import TrainingContext, open_predictor
from textgate.components.inference import Predictor
from textgate.components.train.train import train_bundle


class RecordingPredictor:
    """Predictor that records the texts of every call."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.calls: list[list[str]] = []

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        self.calls.append(list(texts))
        return self._predictor.predict_proba(texts)


class AdditivePredictor:
    """Predictor of two labels whose log-odds are the sum of a weight per word: each word contributes its weight."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._weights = weights

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        odds = np.array([sum(self._weights.get(word, 0.0) for word in text.split()) for text in texts])
        return np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)


def train_linear(dataset: Dataset, folder: Path) -> tuple[ModelBundle, Predictor]:
    """Train a linear bundle, and return its manifest and its predictor."""
    train_bundle(dataset.path, "linear", LinearTraining(family="linear", min_df=1), folder, TrainingContext())
    bundle = ModelBundle.load(folder)
    return bundle, open_predictor(folder, bundle)
