"""F1 and accuracy with bootstrap intervals, of one model and of the difference of two.

A resample of the rows changes a confusion count only through how many rows of each (truth, answer) cell it draws, and
those counts are multinomial. So resampling cells is resampling rows, exactly, at a cost that does not grow with the
rows. Percentile intervals: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13. Paired differences on
the same resample: Koehn, Statistical Significance Tests for Machine Translation Evaluation (EMNLP 2004).
"""

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Estimate

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 13


def confusion(truth: Classes, predicted: Classes, classes: int) -> Classes:
    """Counts (classes, classes) int64: rows are true classes, columns predicted ones."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def per_class_f1(truth: Classes, predicted: Classes, classes: int) -> Floats:
    """F1 of each class (classes,) float64; 0 for a class that is neither true nor predicted anywhere."""
    table = confusion(truth, predicted, classes)
    return _f1(np.diag(table), table.sum(axis=0), table.sum(axis=1))


def f1(truth: Classes, predicted: Classes, classes: int) -> float:
    """F1 of the last class of two, macro F1 over more, as scikit-learn's ``f1_score`` with zero_division=0."""
    return float(_headline(per_class_f1(truth, predicted, classes)))


def f1_estimate(truth: Classes, predicted: Classes, classes: int) -> Estimate:
    """``f1`` with its 95 % percentile bootstrap interval."""
    cells, draws = _resample(np.stack([truth, predicted], axis=1))
    return _estimate(f1(truth, predicted, classes), _headline(_resampled_f1(cells[:, 0], cells[:, 1], draws, classes)))


def accuracy(truth: Classes, predicted: Classes) -> float:
    """Share of equal entries."""
    return float(np.mean(truth == predicted))


def accuracy_estimate(truth: Classes, predicted: Classes) -> Estimate:
    """``accuracy`` with its 95 % percentile bootstrap interval."""
    cells, draws = _resample((truth == predicted)[:, None].astype(np.int64))
    return _estimate(accuracy(truth, predicted), draws @ cells[:, 0] / len(truth))


def f1_difference(truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate:
    """F1 of ``predicted`` less F1 of ``reference`` on the same rows, with its 95 % paired bootstrap interval."""
    cells, draws = _resample(np.stack([truth, predicted, reference], axis=1))
    ours, theirs = (_headline(_resampled_f1(cells[:, 0], cells[:, column], draws, classes)) for column in (1, 2))
    return _estimate(f1(truth, predicted, classes) - f1(truth, reference, classes), ours - theirs)


def _resample(rows: Classes) -> tuple[Classes, Floats]:
    """The different rows (cells, columns) and how often each of the resamples drew them (RESAMPLES, cells)."""
    cells, counts = np.unique(rows, axis=0, return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(rows), counts / len(rows), size=RESAMPLES)
    return cells, draws.astype(np.float64)


def _resampled_f1(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> Floats:
    """Per-class F1 of every resample, (RESAMPLES, classes)."""
    is_true = truth[:, None] == np.arange(classes)
    is_predicted = predicted[:, None] == np.arange(classes)
    return _f1(draws @ (is_true & is_predicted), draws @ is_predicted, draws @ is_true)


def _f1(hits: npt.NDArray[np.generic], predicted: npt.NDArray[np.generic], true: npt.NDArray[np.generic]) -> Floats:
    total = predicted.astype(np.float64) + true.astype(np.float64)
    return np.divide(2 * hits.astype(np.float64), total, out=np.zeros_like(total), where=total > 0)


def _headline(per_class: Floats) -> Floats:
    return np.asarray(per_class[..., 1] if per_class.shape[-1] == 2 else per_class.mean(axis=-1))


def _estimate(value: float, resampled: Floats) -> Estimate:
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def roc_points(truth: Classes, scores: Floats, points: int = 200) -> tuple[list[float], list[float], list[float]]:
    """The ROC curve of a binary task as false positive rates, true positive rates and thresholds.

    ``truth`` is (n,) of 0 and 1, ``scores`` (n,) the probability of 1. At most ``points`` points, the ends among them.
    Thresholds are finite: the first is 1, where nothing is called positive.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    kept = last_of_ties[np.unique(np.linspace(0, len(last_of_ties) - 1, points).astype(int))]
    positives = np.cumsum(truth[order])
    hits, alarms = positives[kept], kept + 1 - positives[kept]
    true_rate = np.concatenate([[0.0], hits / max(positives[-1], 1)])
    false_rate = np.concatenate([[0.0], alarms / max(len(truth) - positives[-1], 1)])
    thresholds = np.concatenate([[1.0], scores[order][kept]])
    return false_rate.tolist(), true_rate.tolist(), thresholds.tolist()
