"""Predictions of a served bundle without its calibration."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import ModelBundle
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference import load_bundle


def uncalibrated(folder: Path, texts: list[str]) -> npt.NDArray[np.float64]:
    """Return probabilities (texts, labels) with the calibration temperature undone."""
    temperature = ModelBundle.load(folder).calibration.temperature
    return apply_temperature(load_bundle(folder).predict_proba(texts), 1 / temperature)
