"""Metrics with 95 % bootstrap intervals.

A resample of the rows affects a confusion matrix only through the number of rows it draws from each (truth, predicted)
cell, and these numbers are multinomial. Drawing them directly is equivalent to drawing rows, at a cost that does not
grow with the number of rows. Metrics of probabilities are computed for weighted rows instead.

Intervals are bias-corrected percentiles: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 14.3,
without acceleration. Paired differences use the same resamples for both systems: Koehn, Statistical Significance Tests
for Machine Translation Evaluation (EMNLP 2004).

The intervals are valid if a metric depends on some dozens of rows. A model without errors has an interval of width 0.
"""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.optimize import bisect

from textgate.components.contracts import Estimate
from textgate.components.contracts.evaluation import ClassScores
from textgate.components.metrics.calibration import calibration_error, calibration_gaps
from textgate.components.metrics.classification import (
    Classes,
    Floats,
    accuracy,
    binary_or_macro,
    class_counts,
    class_metrics,
    f1,
    per_class,
)
from textgate.components.metrics.probability import ProbabilityScores

METRICS = {
    "f1": "F1",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "mcc": "Matthews correlation",
    "log_loss": "Log loss",
    "calibration_error": "Calibration error",
}
"""Metric name to its title. Lower is better for the last two, higher for the others."""

RESAMPLES = 2_000
SEED = 13
TOLERANCE = 1e-12
"""Largest difference of values that count as equal."""
_CONFIDENCE = 0.95
_CHUNK = 2**19
"""Weights held in memory at a time."""
_MAX_FACTOR = 100
_NORMAL = NormalDist()


def scores(truth: Classes, predicted: Classes, probabilities: Floats) -> dict[str, float]:
    """Return every metric in ``METRICS``, in the same order.

    ``class_metrics`` and ``ProbabilityScores`` define them. ROC-AUC and PR-AUC are left out if a class has no rows or
    all rows, because they are undefined then.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    classes = probabilities.shape[1]
    weighted = ProbabilityScores(truth, probabilities).weighted(np.ones((1, len(truth))))
    values = {name: float(value) for name, value in class_metrics(*class_counts(truth, predicted, classes)).items()}
    values |= {name: float(value[0]) for name, value in weighted.items()}
    values["calibration_error"] = calibration_error(truth, probabilities)
    class_missing = len(np.unique(truth)) < classes
    return {name: values[name] for name in METRICS if not (class_missing and name in ("roc_auc", "pr_auc"))}


def estimates(truth: Classes, predicted: Classes, probabilities: Floats) -> dict[str, Estimate]:
    """Return ``scores`` with their 95 % bootstrap intervals.

    The calibration error is biased upwards, because chance alone produces gaps. It therefore has a test-inversion
    interval, which accounts for the bias, reaches 0 if chance explains the value, and then covers the true value
    slightly more often than in 95 % of the cases (see ``_calibration_error_interval``).

    10,000 rows of 2 classes take less than a second, 100,000 rows of 10 classes about 20 seconds.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    values = scores(truth, predicted, probabilities)
    cells, draws = resample_cells(np.stack([truth, predicted], axis=1))
    resampled = class_metrics(*resampled_counts(cells[:, 0], cells[:, 1], draws, probabilities.shape[1]))
    gaps = calibration_gaps(truth, probabilities)
    probability_scores = ProbabilityScores(truth, probabilities)
    chunks, resampled_gaps = [], []
    for weights in _resample_weights(len(truth)):
        chunks.append(probability_scores.weighted(weights))
        resampled_gaps.append((weights @ gaps.astype(np.float32)).astype(np.float64) / len(truth))
    resampled |= {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    result = {name: interval(value, resampled[name]) for name, value in values.items() if name != "calibration_error"}
    return result | {
        "calibration_error": _calibration_error_interval(
            values["calibration_error"], gaps.mean(axis=0), np.concatenate(resampled_gaps)
        )
    }


def class_scores(truth: Classes, predicted: Classes, classes: int) -> list[ClassScores]:
    """Return precision, recall and F1 of each class, with 95 % bootstrap intervals, in the order of the classes."""
    cells, draws = resample_cells(np.stack([truth, predicted], axis=1))
    values = per_class(*class_counts(truth, predicted, classes))
    resampled = per_class(*resampled_counts(cells[:, 0], cells[:, 1], draws, classes))
    rows = np.bincount(truth, minlength=classes)
    return [
        ClassScores(
            rows=int(rows[c]), **{name: interval(float(values[name][c]), resampled[name][:, c]) for name in values}
        )
        for c in range(classes)
    ]


def f1_estimate(truth: Classes, predicted: Classes, classes: int) -> Estimate:
    """Return ``f1`` with its 95 % bootstrap interval."""
    cells, draws = resample_cells(np.stack([truth, predicted], axis=1))
    return interval(f1(truth, predicted, classes), resampled_f1(cells[:, 0], cells[:, 1], draws, classes))


def accuracy_estimate(truth: Classes, predicted: Classes) -> Estimate:
    """Return ``accuracy`` with its 95 % bootstrap interval."""
    cells, draws = resample_cells(np.stack([truth, predicted], axis=1))
    return interval(accuracy(truth, predicted), draws @ (cells[:, 0] == cells[:, 1]) / len(truth))


def f1_difference(truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate:
    """Return F1 of ``predicted`` minus F1 of ``reference``, with its 95 % paired bootstrap interval.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        reference: Classes predicted by the model to compare with, (n,) int64.
        classes: Number of classes.
    """
    cells, draws = resample_cells(np.stack([truth, predicted, reference], axis=1))
    resampled, resampled_reference = (resampled_f1(cells[:, 0], cells[:, column], draws, classes) for column in (1, 2))
    difference = f1(truth, predicted, classes) - f1(truth, reference, classes)
    return interval(difference, resampled - resampled_reference)


def resample_cells(rows: Classes) -> tuple[Classes, Floats]:
    """Draw bootstrap resamples of rows, grouped by equal rows.

    Args:
        rows: (n, columns) int64.

    Returns:
        The distinct rows, (cells, columns) int64, and how often each resample drew them, (RESAMPLES, cells) float64.
    """
    cells, cell_rows = np.unique(rows, axis=0, return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(rows), cell_rows / len(rows), size=RESAMPLES)
    return cells, draws.astype(np.float64)


def resampled_counts(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return ``tp``, ``predicted`` and ``support`` of every resample, each (resamples, classes) float64.

    Args:
        truth: True class of each cell, (cells,) int64.
        predicted: Predicted class of each cell, (cells,) int64.
        draws: How often each resample drew each cell, (resamples, cells) float64.
        classes: Number of classes.
    """
    is_true = truth[:, None] == np.arange(classes)
    is_predicted = predicted[:, None] == np.arange(classes)
    return draws @ (is_true & is_predicted), draws @ is_predicted, draws @ is_true


def resampled_f1(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> Floats:
    """Return ``f1`` of every resample, (resamples,) float64; the arguments are those of ``resampled_counts``."""
    return binary_or_macro(per_class(*resampled_counts(truth, predicted, draws, classes))["f1"])


def interval(value: float, resampled: Floats) -> Estimate:
    """Return ``value`` with its bias-corrected percentile interval.

    Args:
        value: Value on the original rows.
        resampled: Values on the resamples, (resamples,) float64; NaN is ignored.
    """
    known = np.sort(resampled[~np.isnan(resampled)])
    # Rank of the value among the resampled ones; equal values count half.
    below, to = np.searchsorted(known, [value - TOLERANCE, value + TOLERANCE])
    share = np.clip((below + to) / (2 * len(known)), 1 / (2 * len(known)), 1 - 1 / (2 * len(known)))
    bias, z = _NORMAL.inv_cdf(float(share)), _NORMAL.inv_cdf((1 + _CONFIDENCE) / 2)
    low, high = np.quantile(known, [_NORMAL.cdf(2 * bias - z), _NORMAL.cdf(2 * bias + z)])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)))


def _calibration_error_interval(value: float, gaps: Floats, resampled: Floats) -> Estimate:
    """Return the calibration error with its test-inversion interval.

    The lower end is the true error at which a value as high as the measured one has a probability of 2.5 %, the upper
    end the one at which a value as low has. Measured values for other true errors are simulated by scaling the gaps and
    adding the spread of the resamples (Carpenter, Test inversion bootstrap confidence intervals, J. R. Statist. Soc. B
    61, 1999).

    Args:
        value: Measured calibration error.
        gaps: Mean gap per bin, (bins,) float64.
        resampled: Mean gap per bin of each resample, (resamples, bins) float64.
    """
    spread = resampled - gaps

    def solve_factor(quantile: float) -> float:
        """Return the factor on the gaps at which ``value`` is this quantile of the simulated errors."""

        def excess(factor: float) -> float:
            return float(np.quantile(np.abs(factor * gaps + spread).sum(axis=1), quantile)) - value

        return bisect(excess, 0, _MAX_FACTOR, xtol=1e-3) if excess(0) < 0 else 0.0

    low, high = solve_factor((1 + _CONFIDENCE) / 2) * value, solve_factor((1 - _CONFIDENCE) / 2) * value
    return Estimate(value=value, low=min(low, value), high=max(min(high, 1.0), value))


def _resample_weights(rows: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield how often each resample drew each row, in chunks of (some resamples, rows) float32."""
    rng = np.random.default_rng(SEED)
    chunk = max(1, _CHUNK // rows)
    for first in range(0, RESAMPLES, chunk):
        size = min(chunk, RESAMPLES - first)
        drawn = rng.integers(0, rows, (size, rows)) + np.arange(size)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float32)
