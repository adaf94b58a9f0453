"""Predictions of a served bundle without its temperature scaling."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.inference import load_bundle


def uncalibrated(folder: Path, texts: list[str]) -> npt.NDArray[np.float64]:
    """Return the uncalibrated probabilities (len(texts), labels)."""
    return load_bundle(folder).predictor.predict_proba(texts)
