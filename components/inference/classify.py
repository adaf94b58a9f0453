"""Texts to labels: calibrated probabilities and the bundle's decision threshold applied."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textgate.components.contracts import ModelBundle
from textgate.components.inference.predictor import Predictor, StreamingPredictor


@dataclass(frozen=True)
class Prediction:
    """Prediction for one text."""

    text: str
    label: str
    """Predicted label: the most probable one, or by the bundle's threshold where it has one."""
    score: float
    """Calibrated probability of ``label``."""
    probabilities: dict[str, float]
    """Calibrated probability of every label."""
    truncated: bool | None
    """Whether the text is longer than the model's maximum, so that its end was cut off; None if not reported."""


def classify(predictor: Predictor, bundle: ModelBundle, texts: Sequence[str]) -> list[Prediction]:
    """Return a prediction for each text, by the decision rule that the server and the evaluation use.

    Args:
        predictor: Predictor of ``bundle`` with calibrated probabilities: a ``LoadedBundle``, or the result of
            ``families.open_predictor``. Only a ``StreamingPredictor`` reports truncated texts.
        bundle: Manifest with the labels and the threshold.
        texts: Raw texts.
    """
    truncated: list[bool] | list[None] = [None] * len(texts)
    if isinstance(predictor, StreamingPredictor):
        probabilities, cut_off = np.empty((len(texts), len(bundle.labels))), np.zeros(len(texts), dtype=np.bool_)
        for batch in predictor.predict_batches(texts):
            probabilities[batch.rows], cut_off[batch.rows] = batch.probabilities, batch.truncated
        truncated = cut_off.tolist()
    else:
        probabilities = predictor.predict_proba(texts)
    classes = bundle.calibration.predict(probabilities).tolist()
    rows = zip(texts, classes, probabilities.tolist(), truncated, strict=True)
    return [
        Prediction(text, bundle.labels[index], row[index], dict(zip(bundle.labels, row, strict=True)), cut)
        for text, index, row, cut in rows
    ]
