"""What is measured on the probabilities: areas under the ROC and precision-recall curves, and log loss."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textgate.components.metrics.classification import Classes, Floats

_Weights = npt.NDArray[np.floating]


class _Ranking(NamedTuple):
    """The rows from the highest score of a class to the lowest, and where in that order its own rows lie.

    The last four have an entry for each row of the class: rows with a score above its own, and with its own or above.
    """

    order: Classes
    own: Classes
    above: Classes
    to: Classes
    own_above: Classes
    own_to: Classes


class ProbabilityScores:
    """The scores of one set of answers, for any weighting of its rows.

    ``truth`` is (n,) int64, ``probabilities`` (n, classes) float64. ROC-AUC and PR-AUC (average precision, not
    interpolated) are those of the last class of two, and the mean over the classes, each against the rest, where there
    are more. Log loss takes a probability for at least 2.2e-16, as scikit-learn does.
    """

    def __init__(self, truth: Classes, probabilities: Floats) -> None:
        classes = probabilities.shape[1]
        self._rankings = [_ranking(truth == c, probabilities[:, c]) for c in ([1] if classes == 2 else range(classes))]
        tiny = np.finfo(np.float64).eps
        self._losses = -np.log(np.clip(probabilities[np.arange(len(truth)), truth], tiny, 1 - tiny))

    def weighted(self, weights: _Weights) -> dict[str, Floats]:
        """By name, (m,) each, where every row counts as often as ``weights`` (m, n) says; its rows sum to n.

        An area is NaN where no class of it has both rows that are of it and rows that are not; over several classes it
        is the mean of those that have.
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
    to, above = ends[group], np.append(0, ends)[group]
    hits = np.append(0, np.cumsum(positive[order]))
    return _Ranking(order, order[positive[order]], above, to, hits[above], hits[to])


def _areas(weights: _Weights, ranking: _Ranking) -> tuple[Floats, Floats]:
    """ROC-AUC and average precision (m,) for weights (m, n)."""
    own = _taken(weights, ranking.own)
    rows, hits = _sums(_taken(weights, ranking.order)), _sums(own)
    rows_to, hits_to = _taken(rows, ranking.to), _taken(hits, ranking.own_to)
    of_it = hits[:, -1].astype(np.float64)
    of_others = rows[:, -1] - of_it
    # Of the others with the same score, half count as below.
    others = (rows_to - hits_to + _taken(rows, ranking.above) - _taken(hits, ranking.own_above)) / 2
    pairs = of_it * of_others - np.einsum("mn,mn->m", own, others, dtype=np.float64)
    gained = np.einsum("mn,mn->m", own, hits_to / np.maximum(rows_to, 1), dtype=np.float64)
    either = of_it * of_others > 0
    nothing = np.full(len(weights), np.nan)
    return (
        np.divide(pairs, of_it * of_others, out=nothing.copy(), where=either),
        np.divide(gained, of_it, out=nothing, where=either),
    )


def _taken(values: _Weights, columns: Classes) -> _Weights:
    return np.take(values, columns, axis=1, mode="clip")


def _sums(values: _Weights) -> _Weights:
    """Of the first 0, 1, … columns: (m, n + 1)."""
    sums = np.zeros((len(values), values.shape[1] + 1), values.dtype)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums
