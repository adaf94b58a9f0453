"""Intervals of log loss and calibration error."""

import numpy as np
from scipy.optimize import bisect
from scipy.stats import norm

from textgate.components.metrics.calibration import BINS, bin_indices
from textgate.components.metrics.classification import Classes, Floats
from textgate.components.metrics.probability import TINY
from textgate.components.metrics.proportions import CONFIDENCE, mid_p

_DRAWS = 2_000
_SEED = 13
_MAX_FACTOR = 100
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))

Ends = tuple[float, float]


def mean_loss_interval(losses: Floats) -> Ends:
    """Return the ends of the 95 % interval of a mean of skewed values.

    The t statistic is transformed so that its skewness vanishes (Hall, On the removal of skewness by transformation, J.
    R. Statist. Soc. B 54, 1992, the cubic transformation).

    Args:
        losses: Value of each row, (n,) float64.
    """
    rows, mean, deviation = len(losses), float(losses.mean()), float(losses.std())
    error = deviation / np.sqrt(rows)
    skewness = float(((losses - mean) ** 3).mean()) / deviation**3 if deviation > 0 else 0.0
    if abs(skewness) < 1e-6:
        return mean - _Z * error, mean + _Z * error

    def inverse(z: float) -> float:
        a = skewness / (3 * np.sqrt(rows))
        return float((np.cbrt(1 + 3 * a * (z - skewness / (6 * np.sqrt(rows)))) - 1) / a)

    return mean - error * inverse(_Z), mean - error * inverse(-_Z)


def loss_rows(losses: Floats, probabilities: Floats) -> float:
    """Return how many rows with equal losses would vary as much: the square of the sum over the sum of squares.

    It is Kish's effective sample size (Survey Sampling, 1965); the smaller one of that of the losses and that which the
    probabilities let expect, because a class with large losses may be missing.

    Args:
        losses: Log loss of each row, (n,) float64.
        probabilities: (n, classes) float64.
    """
    logarithms = np.log(np.maximum(probabilities, TINY))
    sums = [(losses.sum(), (losses**2).sum())]
    sums.append((-(probabilities * logarithms).sum(), (probabilities * logarithms**2).sum()))
    return min(float(total**2 / square) if square > 0 else 0.0 for total, square in sums)


def calibration_error_interval(truth: Classes, probabilities: Floats) -> Ends:
    """Return the ends of the 95 % test-inversion interval of the expected calibration error.

    Chance alone produces gaps, so that the measured error is biased upwards. The lower end is the true error at which a
    value as high as the measured one has a probability of 2.5 %, the upper end the one at which a value as low has; the
    lower one is 0 if chance explains the value. Values for other true errors are simulated by scaling the gaps of the
    bins and adding normal deviates (Carpenter, Test inversion bootstrap confidence intervals, J. R. Statist. Soc. B 61,
    1999). Their variance is the larger one of the measured one and that which the probabilities imply.

    Args:
        truth: True classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    rows, confidence = len(truth), probabilities.max(axis=1)
    gap, bins = (probabilities.argmax(axis=1) == truth) - confidence, bin_indices(confidence)
    gaps = np.bincount(bins, gap, BINS) / rows
    measured, implied = (np.bincount(bins, each, BINS) for each in (gap**2, confidence * (1 - confidence)))
    deviation = np.sqrt(np.maximum(measured, implied)) / rows
    spread = deviation * np.random.default_rng(_SEED).standard_normal((_DRAWS, BINS))
    value = float(np.abs(gaps).sum())
    # The error is at least the difference of mean confidence and accuracy; without errors, only this bound is reliable.
    accuracy = mid_p(np.array(float((gap + confidence).sum())), np.array(float(rows)))
    lowest_maximum = max(abs(float(confidence.mean() - end)) for end in accuracy)

    def solve(quantile: float) -> float:
        """Return the true error at which ``value`` is this quantile of the simulated errors."""

        def excess(factor: float) -> float:
            return float(np.quantile(np.abs(factor * gaps + spread).sum(axis=1), quantile)) - value

        return value * (bisect(excess, 0, _MAX_FACTOR, xtol=1e-3) if excess(0) < 0 < excess(_MAX_FACTOR) else 0.0)

    return solve((1 + CONFIDENCE) / 2), max(solve((1 - CONFIDENCE) / 2), lowest_maximum)
