"""The curves a report draws. Of a task with several classes, each class is drawn against the rest."""

import numpy as np

from textgate.components.metrics.calibration import BINS, bins_of
from textgate.components.metrics.classification import Classes, Floats


def roc_points(truth: Classes, scores: Floats, points: int = 200) -> tuple[list[float], list[float], list[float]]:
    """The ROC curve of a binary task as false positive rates, true positive rates and thresholds.

    ``truth`` is (n,) of 0 and 1, ``scores`` (n,) the probability of 1. At most ``points`` points and the beginning,
    the end among them. Thresholds are finite: the first is 1, where nothing is called positive.
    """
    hits, called, thresholds = _cuts(truth, scores, points)
    positives, alarms = int(truth.sum()), called - hits
    true_rate = np.append(0.0, hits / max(positives, 1))
    false_rate = np.append(0.0, alarms / max(len(truth) - positives, 1))
    return false_rate.tolist(), true_rate.tolist(), [1.0, *thresholds.tolist()]


def precision_recall_points(
    truth: Classes, scores: Floats, points: int = 200
) -> tuple[list[float], list[float], list[float]]:
    """The precision-recall curve of a binary task as recalls, precisions and thresholds, recall rising.

    ``truth`` is (n,) of 0 and 1, ``scores`` (n,) the probability of 1. At most ``points`` points and the beginning,
    which is recall 0 at the precision of the highest score; the end, where all is called positive, is among them.
    """
    hits, called, thresholds = _cuts(truth, scores, points)
    precision, recall = hits / called, hits / max(int(truth.sum()), 1)
    return [0.0, *recall.tolist()], [float(precision[0]), *precision.tolist()], [1.0, *thresholds.tolist()]


def reliability(truth: Classes, probabilities: Floats, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Mean confidence, share of right answers and rows of each bin of confidence that has rows, the lowest first.

    ``truth`` is (n,) int64, ``probabilities`` (n, classes) float64, whose most probable class is the answer: the gaps
    of ``calibration_error``. One class against the rest: ``truth == c`` with ``probabilities[:, c]`` (n,), where the
    first number is the mean probability of the class and the second the share of rows that are of it.
    """
    if probabilities.ndim == 1:
        confidence, right = probabilities, truth.astype(np.float64)
    else:
        confidence, right = probabilities.max(axis=1), (probabilities.argmax(axis=1) == truth).astype(np.float64)
    place = bins_of(confidence, bins)
    rows = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights=values, minlength=bins) for values in (confidence, right))
    means = (total / np.maximum(rows, 1) for total in sums)
    return [(float(c), float(r), int(n)) for c, r, n in zip(*means, rows, strict=True) if n]


def _cuts(truth: Classes, scores: Floats, points: int) -> tuple[Floats, Floats, Floats]:
    """At ``points`` of the different scores, the highest first: rows of class 1 and all rows from it on, and it."""
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    kept = last_of_ties[np.unique(np.linspace(0, len(last_of_ties) - 1, points).astype(int))]
    return np.cumsum(truth[order])[kept].astype(np.float64), (kept + 1).astype(np.float64), scores[order][kept]
