"""How far probabilities can be trusted, and where a binary task is best cut.

Temperature: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), section 4.2. A probability to the power
of 1/T, normalised, is the softmax of the logits divided by T.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from textgate.components.contracts import InputError
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.metrics.classification import Classes, Floats

BINS = 15
_TEMPERATURES = (0.05, 20.0)


def calibration_error(truth: Classes, probabilities: Floats) -> float:
    """Expected calibration error in 15 equal-width bins of confidence (Guo et al., equation 3).

    ``truth`` is (n,) int64, ``probabilities`` (n, classes) float64.
    """
    return float(np.abs(calibration_gaps(truth, probabilities).sum(axis=0)).sum() / len(truth))


def calibration_gaps(truth: Classes, probabilities: Floats) -> Floats:
    """Rightness (0 or 1) less confidence of each row, (n, 15): in the column of its bin, 0 in the others."""
    confidence = probabilities.max(axis=1)
    gaps = np.zeros((len(truth), BINS))
    gaps[np.arange(len(truth)), bins_of(confidence)] = (probabilities.argmax(axis=1) == truth) - confidence
    return gaps


def bins_of(confidence: Floats, bins: int = BINS) -> Classes:
    """The bin of equal width, 0 to ``bins`` - 1, that each confidence (n,) lies in."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def fit_temperature(truth: Classes, probabilities: Floats) -> float:
    """The temperature in [0.05, 20] at which ``truth`` is likeliest.

    Of n rows the truth is held for certain to (n + 1) / (n + 2) only (Platt, Probabilistic Outputs for Support Vector
    Machines, 1999): a split without an error would call for a temperature of 0.
    """
    doubt = 1 / (len(truth) + 2)
    targets = np.full(probabilities.shape, doubt / (probabilities.shape[1] - 1))
    targets[np.arange(len(truth)), truth] = 1 - doubt

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(probabilities, float(np.exp(log_temperature)))
        return -float((targets * np.log(np.maximum(scaled, 1e-300))).sum())

    found = minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def threshold_for_f1(truth: Classes, scores: Floats) -> float:
    """The threshold on ``scores`` (n,), the probability of class 1, at which its F1 is highest.

    Class 1 is answered from the threshold on. It lies half way between two neighbouring scores; of several that are
    equally good it is the one nearest to a half.
    """
    thresholds, hits, called = _cuts(truth, scores)
    f1 = 2 * hits / np.maximum(called + truth.sum(), 1)
    best = thresholds[f1 >= f1.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def threshold_for_precision(truth: Classes, scores: Floats, precision: float) -> float:
    """The lowest threshold on ``scores`` (n,), and so the highest recall, at which class 1 has this precision.

    Raises:
        InputError: none reaches it.
    """
    thresholds, hits, called = _cuts(truth, scores)
    reached = (called > 0) & (hits >= precision * called)
    if not reached.any():
        best = (hits / np.maximum(called, 1)).max()
        raise InputError(
            f"export.min_precision={precision:g} is not reached at any threshold on the validation split: the highest "
            f"precision there is {best:.4f}"
        )
    return float(thresholds[reached].min())


def _cuts(truth: Classes, scores: Floats) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Every threshold that makes a difference, and above each the rows of class 1 and all rows."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    below = np.append(ordered[last[:-1] + 1], 0.0)
    return (ordered[last] + below) / 2, np.cumsum(truth[order])[last], last + 1
