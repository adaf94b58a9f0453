"""Every metric with its bootstrap interval.

A resample of the rows changes a confusion count only through how many rows of each (truth, answer) cell it draws, and
those counts are multinomial. So resampling cells is resampling rows, exactly, at a cost that does not grow with the
rows. What needs the probabilities is computed for weighted rows. Intervals are bias-corrected percentiles: Efron and
Tibshirani, An Introduction to the Bootstrap (1993), section 14.3, without acceleration. Paired differences on the same
resample: Koehn, Statistical Significance Tests for Machine Translation Evaluation (EMNLP 2004).

They hold where a metric rests on some dozens of rows. A model without a single error has an interval of no width.
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
    answer_scores,
    counts,
    f1,
    headline,
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
"""Every metric by name, with the title a person reads. Of the last two, less is better."""

RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 13
SAME = 1e-12
"""By how much equal values may differ."""
_CHUNK = 2**19
"""Weights held at a time."""
_MOST_TIMES = 100
_NORMAL = NormalDist()


def scores(truth: Classes, predicted: Classes, probabilities: Floats) -> dict[str, float]:
    """Every metric of ``METRICS``, in its order; see ``answer_scores`` and ``ProbabilityScores`` for what they are.

    ``truth`` and ``predicted`` are (n,) int64, ``probabilities`` (n, classes) float64. ROC-AUC and PR-AUC are left out
    where a class has no row, or all rows: they are not defined then.
    """
    classes = probabilities.shape[1]
    weighted = ProbabilityScores(truth, probabilities).weighted(np.ones((1, len(truth))))
    found = {name: float(value) for name, value in answer_scores(*counts(truth, predicted, classes)).items()}
    found |= {name: float(value[0]) for name, value in weighted.items()}
    found["calibration_error"] = calibration_error(truth, probabilities)
    absent = len(np.unique(truth)) < classes
    return {name: found[name] for name in METRICS if not (absent and name in ("roc_auc", "pr_auc"))}


def estimates(truth: Classes, predicted: Classes, probabilities: Floats) -> dict[str, Estimate]:
    """``scores`` with their 95 % bootstrap intervals.

    The calibration error is the one metric whose value is biased, upwards: chance makes gaps of its own. So its
    interval is another, which knows that and reaches down to 0 where chance alone explains the value; there it covers
    the true value a little oftener than in 95 % of the cases (see ``_error_interval``).

    10,000 rows of 2 classes take under a second, 100,000 of 10 about 20 seconds.
    """
    values = scores(truth, predicted, probabilities)
    cells, draws = resample(np.stack([truth, predicted], axis=1))
    resampled = answer_scores(*resampled_counts(cells[:, 0], cells[:, 1], draws, probabilities.shape[1]))
    gaps = calibration_gaps(truth, probabilities)
    prepared = ProbabilityScores(truth, probabilities)
    parts, resampled_gaps = [], []
    for weights in _weights(len(truth)):
        parts.append(prepared.weighted(weights))
        resampled_gaps.append((weights @ gaps.astype(np.float32)).astype(np.float64) / len(truth))
    resampled |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = {name: interval(value, resampled[name]) for name, value in values.items() if name != "calibration_error"}
    return found | {
        "calibration_error": _error_interval(
            values["calibration_error"], gaps.mean(axis=0), np.concatenate(resampled_gaps)
        )
    }


def class_scores(truth: Classes, predicted: Classes, classes: int) -> list[ClassScores]:
    """Precision, recall and F1 of each class with their 95 % bootstrap intervals, in the order of the classes."""
    cells, draws = resample(np.stack([truth, predicted], axis=1))
    values = per_class(*counts(truth, predicted, classes))
    resampled = per_class(*resampled_counts(cells[:, 0], cells[:, 1], draws, classes))
    rows = np.bincount(truth, minlength=classes)
    return [
        ClassScores(
            rows=int(rows[c]), **{name: interval(float(values[name][c]), resampled[name][:, c]) for name in values}
        )
        for c in range(classes)
    ]


def f1_estimate(truth: Classes, predicted: Classes, classes: int) -> Estimate:
    """``f1`` with its 95 % bootstrap interval."""
    cells, draws = resample(np.stack([truth, predicted], axis=1))
    return interval(f1(truth, predicted, classes), resampled_f1(cells[:, 0], cells[:, 1], draws, classes))


def accuracy_estimate(truth: Classes, predicted: Classes) -> Estimate:
    """``accuracy`` with its 95 % bootstrap interval."""
    cells, draws = resample(np.stack([truth, predicted], axis=1))
    return interval(accuracy(truth, predicted), draws @ (cells[:, 0] == cells[:, 1]) / len(truth))


def f1_difference(truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate:
    """F1 of ``predicted`` less F1 of ``reference`` on the same rows, with its 95 % paired bootstrap interval."""
    cells, draws = resample(np.stack([truth, predicted, reference], axis=1))
    ours, theirs = (resampled_f1(cells[:, 0], cells[:, column], draws, classes) for column in (1, 2))
    return interval(f1(truth, predicted, classes) - f1(truth, reference, classes), ours - theirs)


def resample(rows: Classes) -> tuple[Classes, Floats]:
    """The different rows (cells, columns) and how often each of the resamples drew them (RESAMPLES, cells)."""
    cells, drawn = np.unique(rows, axis=0, return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(rows), drawn / len(rows), size=RESAMPLES)
    return cells, draws.astype(np.float64)


def resampled_counts(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> tuple[Floats, Floats, Floats]:
    """``hits``, ``called`` and ``true`` (resamples, classes) of cells (cells,) drawn (resamples, cells) times."""
    is_true = truth[:, None] == np.arange(classes)
    is_predicted = predicted[:, None] == np.arange(classes)
    return draws @ (is_true & is_predicted), draws @ is_predicted, draws @ is_true


def resampled_f1(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> Floats:
    """``f1`` of every resample (resamples,), of cells as in ``resampled_counts``."""
    return headline(per_class(*resampled_counts(truth, predicted, draws, classes))["f1"])


def interval(value: float, resampled: Floats) -> Estimate:
    """``value`` with the interval that its resampled values (resamples,) give it; those that are NaN do not count."""
    known = np.sort(resampled[~np.isnan(resampled)])
    # Where the value lies among the resampled ones, of which those equal to it count half.
    below, to = np.searchsorted(known, [value - SAME, value + SAME])
    share = np.clip((below + to) / (2 * len(known)), 1 / (2 * len(known)), 1 - 1 / (2 * len(known)))
    shift, reach = _NORMAL.inv_cdf(float(share)), _NORMAL.inv_cdf((1 + CONFIDENCE) / 2)
    low, high = np.quantile(known, [_NORMAL.cdf(2 * shift - reach), _NORMAL.cdf(2 * shift + reach)])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)))


def _error_interval(value: float, gaps: Floats, resampled: Floats) -> Estimate:
    """The calibration error ``value`` of gaps (bins,) that resamples (resamples, bins) spread around.

    From the error that is so small that a value as high as the measured one is seen in 2.5 % of the cases, to the one
    that is so large that a value as low is: what would be measured if the gaps truly were so many times the measured
    ones is simulated with the spread of the resamples (Carpenter, Test inversion bootstrap confidence intervals, J. R.
    Statist. Soc. B 61, 1999).
    """
    spread = resampled - gaps

    def times(quantile: float) -> float:
        def off(factor: float) -> float:
            return float(np.quantile(np.abs(factor * gaps + spread).sum(axis=1), quantile)) - value

        return bisect(off, 0, _MOST_TIMES, xtol=1e-3) if off(0) < 0 else 0.0

    low, high = times((1 + CONFIDENCE) / 2) * value, times((1 - CONFIDENCE) / 2) * value
    return Estimate(value=value, low=min(low, value), high=max(min(high, 1.0), value))


def _weights(rows: int) -> Iterator[npt.NDArray[np.float32]]:
    """How often each resample drew each row, (some, rows) at a time."""
    rng = np.random.default_rng(SEED)
    at_a_time = max(1, _CHUNK // rows)
    for first in range(0, RESAMPLES, at_a_time):
        some = min(at_a_time, RESAMPLES - first)
        drawn = rng.integers(0, rows, (some, rows)) + np.arange(some)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=some * rows).reshape(some, rows).astype(np.float32)
