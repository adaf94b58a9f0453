"""Decision thresholds on the probability of class 1 of a binary task, kept only if they do what they are for.

A threshold that is merely the best on a split is too good there: on few rows it is worse than 0.5 elsewhere, and a
precision that is just reached is missed in half of the cases.
"""

import numpy as np
from scipy.stats import binom

from textgate.components.metrics.classification import Classes, Floats, counts_by_threshold
from textgate.components.metrics.intervals import f1_difference
from textgate.components.metrics.resampling import SEED

_LEVEL = 0.05
"""Probability of keeping a threshold that misses its promise."""
_STEP = 1.2
"""Ratio of the numbers of predictions at neighbouring candidates."""
_FOLDS = 10


def threshold_for_f1(truth: Classes, scores: Floats) -> float | None:
    """Return the threshold with the highest F1 of class 1, if it is better than 0.5 by more than chance.

    The gain is measured by 10-fold cross-validation: each row is predicted with the threshold that is best on the other
    folds. The threshold is kept if the 95 % interval of this F1 minus that of 0.5 lies above 0.

    Args:
        truth: True classes, (n,) of 0 and 1.
        scores: Probability of class 1, (n,) float64.

    Returns:
        The threshold from which on class 1 is predicted, half-way between two scores; None if the gain may be chance.
    """
    fold = np.random.default_rng(SEED).permutation(len(truth)) % _FOLDS
    predicted = np.zeros(len(truth), dtype=np.int64)
    for index in range(min(_FOLDS, len(truth))):
        rest = fold != index
        if rest.any():
            predicted[~rest] = scores[~rest] >= _best_for_f1(truth[rest], scores[rest])
    gain = f1_difference(truth, predicted, (scores > 0.5).astype(np.int64), 2)
    return _best_for_f1(truth, scores) if gain.low > 0 else None


def threshold_for_precision(truth: Classes, scores: Floats, precision: float) -> float | None:
    """Return the lowest threshold at which class 1 has at least this precision with 95 % confidence.

    Candidates are chosen by the number of their predictions, before looking at ``truth``, and tested from the highest
    threshold to the lowest by exact binomial tests (the bound of Clopper and Pearson, Biometrika 26, 1934). The level
    of 5 % is divided among them; a candidate that passes hands its level on to the next, so that few candidates are
    tested at a much lower level (Wiens, A Fixed Sequence Bonferroni Procedure for Testing Multiple Endpoints,
    Pharmaceutical Statistics 2, 2003). The probability that any candidate passes whose precision is lower is at most
    5 %.

    Args:
        truth: True classes, (n,) of 0 and 1.
        scores: Probability of class 1, (n,) float64.
        precision: Required precision of class 1.

    Returns:
        The threshold from which on class 1 is predicted, half-way between two scores; None if no candidate passes.
    """
    tp, predicted, scores_above = counts_by_threshold(truth, scores)
    candidates = _candidates(predicted, precision)
    passed, handed_on = None, 0.0
    for candidate in candidates:
        level = _LEVEL / len(candidates) + handed_on
        # Probability of as many true positives if the precision were just too low.
        if binom.sf(tp[candidate] - 1, predicted[candidate], precision) <= level:
            passed, handed_on = candidate, level
        else:
            handed_on = 0.0
    return None if passed is None else float(_midpoints(scores_above)[passed])


def _candidates(predicted: Classes, precision: float) -> Classes:
    """Return indices of thresholds, ascending, whose numbers of predictions differ by about 20 % and can suffice.

    Args:
        predicted: Number of predictions at each threshold, ascending.
        precision: Required precision.
    """
    sizes = predicted[-1] / _STEP ** np.arange(np.log(predicted[-1]) / np.log(_STEP) + 1)
    candidates = np.unique(np.searchsorted(predicted, sizes, side="right") - 1)
    candidates = candidates[candidates >= 0]
    # Leave out those that would not pass without a single error; with them, each level would only be lower.
    return np.asarray(candidates[precision ** predicted[candidates] <= _LEVEL / len(candidates)])


def _best_for_f1(truth: Classes, scores: Floats) -> float:
    """Return the threshold with the highest F1 of class 1; of several equally good ones, the nearest to 0.5."""
    tp, predicted, scores_above = counts_by_threshold(truth, scores)
    f1 = 2 * tp / np.maximum(predicted + truth.sum(), 1)
    best = _midpoints(scores_above)[f1 >= f1.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _midpoints(scores: Floats) -> Floats:
    """Return the points half-way between each of the descending ``scores`` and the next one, or 0 after the last."""
    return np.asarray((scores + np.append(scores[1:], 0.0)) / 2)
