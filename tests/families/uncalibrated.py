"""What a served bundle answers before its probabilities are brought to its temperature."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import ModelBundle
from textgate.components.contracts.bundle import calibrated
from textgate.components.inference import load


def uncalibrated(folder: Path, texts: list[str]) -> npt.NDArray[np.float64]:
    """Probabilities (len(texts), labels)."""
    return calibrated(load(folder).predict(texts), 1 / ModelBundle.load(folder).calibration.temperature)
