"""Scores of probabilities: areas under the ROC and the precision-recall curve, and log loss, for weighted rows."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.metrics.classification import Classes, Floats

TINY = float(np.finfo(np.float64).eps)
MAX_LOSS = -math.log(TINY)
"""Largest log loss of a row."""

_Weights = npt.NDArray[np.floating]


class _Ranking(NamedTuple):
    """Rows by descending score of one class, and the positions of its positive rows.

    The last four arrays have one entry per positive row: the number of rows, and of positive rows, with a higher score
    (``above``) or with a score at least as high (``to``).
    """

    order: Classes
    positives: Classes
    rows_above: Classes
    rows_to: Classes
    positives_above: Classes
    positives_to: Classes


def row_losses(truth: Classes, probabilities: Floats) -> Floats:
    """Return the log loss of each row, (n,) float64; probabilities are clipped at 2.2e-16, as scikit-learn does.

    Args:
        truth: True classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    return -np.log(np.clip(probabilities[np.arange(len(truth)), truth], TINY, 1 - TINY))


class ProbabilityScores:
    """ROC-AUC, PR-AUC and log loss of fixed predictions, for any weights of the rows.

    ROC-AUC and PR-AUC (average precision, not interpolated) are those of class 1 for two classes, and the mean over
    the classes, each against the rest, for more. Log loss is that of ``row_losses``.
    """

    def __init__(self, truth: Classes, probabilities: Floats) -> None:
        """Sort the rows by score, once for all weights.

        Args:
            truth: True classes, (n,) int64.
            probabilities: (n, classes) float64.
        """
        classes = probabilities.shape[1]
        self._rankings = [_ranking(truth == c, probabilities[:, c]) for c in ([1] if classes == 2 else range(classes))]
        self._losses = row_losses(truth, probabilities)

    def weighted(self, weights: _Weights) -> dict[str, Floats]:
        """Return each score for m weightings of the rows.

        Args:
            weights: How often each row counts, (m, n) float; each weighting sums to n.

        Returns:
            ``roc_auc``, ``pr_auc`` and ``log_loss``, each (m,) float64. Classes without positive or without negative
            rows are left out of the mean of an area; it is NaN if no class is left.
        """
        areas = np.array([_areas(weights, ranking) for ranking in self._rankings])
        defined = ~np.isnan(areas)
        means = np.full(areas.shape[1:], np.nan)
        np.divide(np.where(defined, areas, 0).sum(axis=0), defined.sum(axis=0), out=means, where=defined.any(axis=0))
        loss = (weights @ self._losses.astype(weights.dtype)).astype(np.float64) / len(self._losses)
        return {"roc_auc": means[0], "pr_auc": means[1], "log_loss": loss}


def _ranking(positive: npt.NDArray[np.bool_], scores: Floats) -> _Ranking:
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])) + 1, len(order))
    group = np.searchsorted(ends, np.flatnonzero(positive[order]), side="right")
    rows_to, rows_above = ends[group], np.append(0, ends)[group]
    tp = np.append(0, np.cumsum(positive[order]))
    return _Ranking(order, order[positive[order]], rows_above, rows_to, tp[rows_above], tp[rows_to])


def _areas(weights: _Weights, ranking: _Ranking) -> tuple[Floats, Floats]:
    """Return ROC-AUC and average precision, each (m,) float64, for weights (m, n)."""
    own = _take_columns(weights, ranking.positives)
    rows, tp = _cumulative_sums(_take_columns(weights, ranking.order)), _cumulative_sums(own)
    rows_to, tp_to = _take_columns(rows, ranking.rows_to), _take_columns(tp, ranking.positives_to)
    positives = tp[:, -1].astype(np.float64)
    negatives = rows[:, -1] - positives
    # Negative rows ranked above each positive row; of those with the same score, half are counted.
    rows_above, tp_above = _take_columns(rows, ranking.rows_above), _take_columns(tp, ranking.positives_above)
    negatives_above = (rows_to - tp_to + rows_above - tp_above) / 2
    ordered_pairs = positives * negatives - np.einsum("mn,mn->m", own, negatives_above, dtype=np.float64)
    precision_sum = np.einsum("mn,mn->m", own, tp_to / np.maximum(rows_to, 1), dtype=np.float64)
    defined = positives * negatives > 0
    nan = np.full(len(weights), np.nan)
    return (
        np.divide(ordered_pairs, positives * negatives, out=nan.copy(), where=defined),
        np.divide(precision_sum, positives, out=nan, where=defined),
    )


def _take_columns(values: _Weights, columns: Classes) -> _Weights:
    return np.take(values, columns, axis=1, mode="clip")


def _cumulative_sums(values: _Weights) -> _Weights:
    """Return the sums of the first 0, 1, …, n columns of (m, n), as (m, n + 1)."""
    sums = np.zeros((len(values), values.shape[1] + 1), values.dtype)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums
