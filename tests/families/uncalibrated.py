"""What a served bundle answers before its probabilities are brought to its temperature."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import ModelBundle
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.inference import load_bundle


def uncalibrated(folder: Path, texts: list[str]) -> npt.NDArray[np.float64]:
    """Probabilities (len(texts), labels)."""
    return apply_temperature(load_bundle(folder).predict_proba(texts), 1 / ModelBundle.load(folder).calibration.temperature)
