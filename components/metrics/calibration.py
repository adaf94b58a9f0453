"""Calibration error of probabilities, and temperature scaling.

Temperature: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 4.2. A probability to the power
of 1/T, normalized, equals the softmax of the logits divided by T.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.metrics.classification import Classes, Floats

BINS = 15
_TEMPERATURES = (0.05, 20.0)


def calibration_error(truth: Classes, probabilities: Floats) -> float:
    """Return the expected calibration error with 15 equal-width bins of confidence (Guo et al., equation 3).

    Args:
        truth: True classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    return float(np.abs(calibration_gaps(truth, probabilities).sum(axis=0)).sum() / len(truth))


def calibration_gaps(truth: Classes, probabilities: Floats) -> Floats:
    """Return correctness (0 or 1) minus confidence of each row in the column of its bin, (n, 15) float64, else 0."""
    confidence = probabilities.max(axis=1)
    gaps = np.zeros((len(truth), BINS))
    gaps[np.arange(len(truth)), bin_indices(confidence)] = (probabilities.argmax(axis=1) == truth) - confidence
    return gaps


def bin_indices(confidence: Floats, bins: int = BINS) -> Classes:
    """Return the index of the equal-width bin, 0 to ``bins`` - 1, of each confidence (n,), as (n,) int64."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def fit_temperature(truth: Classes, probabilities: Floats) -> float:
    """Return the temperature in [0.05, 20] that maximizes the likelihood of ``truth``.

    Targets are smoothed: the true class has (n + 1) / (n + 2) for n rows (Platt, Probabilistic Outputs for Support
    Vector Machines, 1999). Otherwise a split without errors would give the lowest temperature.

    Args:
        truth: True classes, (n,) int64.
        probabilities: Uncalibrated probabilities, (n, classes) float64.
    """
    smoothing = 1 / (len(truth) + 2)
    targets = np.full(probabilities.shape, smoothing / (probabilities.shape[1] - 1))
    targets[np.arange(len(truth)), truth] = 1 - smoothing

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(probabilities, float(np.exp(log_temperature)))
        return -float((targets * np.log(np.maximum(scaled, 1e-300))).sum())

    result = minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(result.x))
