"""ROC, precision-recall and reliability curves. With several classes, each class is drawn against the rest."""

import numpy as np

from textgate.components.metrics.calibration import BINS, bin_indices
from textgate.components.metrics.classification import Classes, Floats, counts_by_threshold


def roc_points(truth: Classes, scores: Floats, points: int = 200) -> tuple[list[float], list[float], list[float]]:
    """Return the ROC curve of a binary task.

    Args:
        truth: True classes, (n,) of 0 and 1.
        scores: Probability of class 1, (n,) float64.
        points: Largest number of points after the first one; both ends of the curve are included.

    Returns:
        False positive rates, true positive rates and thresholds. All thresholds are finite: the first one is 1, with
        no positive predictions.
    """
    tp, predicted, thresholds = _sampled_counts(truth, scores, points)
    positives, false_positives = int(truth.sum()), predicted - tp
    true_rate = np.append(0.0, tp / max(positives, 1))
    false_rate = np.append(0.0, false_positives / max(len(truth) - positives, 1))
    return false_rate.tolist(), true_rate.tolist(), [1.0, *thresholds.tolist()]


def precision_recall_points(
    truth: Classes, scores: Floats, points: int = 200
) -> tuple[list[float], list[float], list[float]]:
    """Return the precision-recall curve of a binary task, by increasing recall.

    Args:
        truth: True classes, (n,) of 0 and 1.
        scores: Probability of class 1, (n,) float64.
        points: Largest number of points after the first one; the last one, with only positive predictions, is included.

    Returns:
        Recalls, precisions and thresholds. The first point has recall 0 and the precision at the highest score.
    """
    tp, predicted, thresholds = _sampled_counts(truth, scores, points)
    precision, recall = tp / predicted, tp / max(int(truth.sum()), 1)
    return [0.0, *recall.tolist()], [float(precision[0]), *precision.tolist()], [1.0, *thresholds.tolist()]


def reliability(truth: Classes, probabilities: Floats, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Return the reliability diagram: the points whose gaps ``calibration_error`` averages.

    Args:
        truth: True classes, (n,) int64.
        probabilities: (n, classes) float64; the most probable class is the prediction. For one class against the rest,
            pass its probabilities (n,) and ``truth == c``.
        bins: Number of equal-width bins of confidence.

    Returns:
        Mean confidence, share of correct predictions and number of rows of each bin with rows, by confidence. For one
        class against the rest: its mean probability, the share of rows that belong to it, and the number of rows.
    """
    if probabilities.ndim == 1:
        confidence, correct = probabilities, truth.astype(np.float64)
    else:
        confidence, correct = probabilities.max(axis=1), (probabilities.argmax(axis=1) == truth).astype(np.float64)
    indices = bin_indices(confidence, bins)
    rows = np.bincount(indices, minlength=bins)
    sums = (np.bincount(indices, weights=values, minlength=bins) for values in (confidence, correct))
    means = (total / np.maximum(rows, 1) for total in sums)
    return [(float(c), float(r), int(n)) for c, r, n in zip(*means, rows, strict=True) if n]


def _sampled_counts(truth: Classes, scores: Floats, points: int) -> tuple[Floats, Floats, Floats]:
    """Return ``counts_by_threshold`` at no more than ``points`` evenly spaced thresholds, as float64."""
    tp, predicted, thresholds = counts_by_threshold(truth, scores)
    sample = np.unique(np.linspace(0, len(thresholds) - 1, points).astype(int))
    return tp[sample].astype(np.float64), predicted[sample].astype(np.float64), thresholds[sample]
