"""A bundle on plain arrays whose answers rest on two words, and how often it was asked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, LinearTraining, ModelBundle
from textgate.components.families import TrainingContext, open_predictor
from textgate.components.inference import Predictor
from textgate.components.train.train import train_bundle


class Counted:
    """A predictor that remembers what it was asked."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.asked: list[list[str]] = []

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        self.asked.append(list(texts))
        return self._predictor.predict_proba(texts)


class Additive:
    """Two labels, whose log-odds are the sum of what each word is worth: its contribution is its worth."""

    def __init__(self, worth: dict[str, float]) -> None:
        self._worth = worth

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See ``Predictor.predict_proba``."""
        odds = np.array([sum(self._worth.get(word, 0.0) for word in text.split()) for text in texts])
        return np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)


def train_linear(dataset: Dataset, folder: Path) -> tuple[ModelBundle, Predictor]:
    """A trained linear bundle and what answers for it."""
    train_bundle(dataset.path, "linear", LinearTraining(family="linear", min_df=1), folder, TrainingContext())
    bundle = ModelBundle.load(folder)
    return bundle, open_predictor(folder, bundle)
