"""Intervals of the areas under the ROC and the precision-recall curve.

Like Wilson's interval of a proportion, an interval holds every area from which the measured one is at most 1.96
standard errors away. Standard errors follow from the rows' influence on the area: for ROC-AUC DeLong's (DeLong, DeLong
and Clarke-Pearson, Biometrics 44, 1988; by ranks: Sun and Xu, IEEE Signal Processing Letters 21, 2014), for average
precision the derivatives by the weights of the rows (delta method). They are 0 if all rows are in the right order and
unstable if few are not. Therefore a standard error that depends on the area alone counts as much as ten misplaced rows:

- ROC-AUC: Hanley and McNeil's (Radiology 143, 1982; in such an interval: Newcombe, Confidence intervals for an effect
  size measure based on the Mann-Whitney statistic, Statistics in Medicine 25, 2006);
- average precision: that of a proportion of the positive rows (Boyd, Eng and Page, Area under the Precision-Recall
  Curve: Point Estimates and Confidence Intervals, ECML 2013).

Average precision is biased upwards if there are few positive rows, because each of them counts in the precision at its
own score. The lower end of its interval is that of the average precision in which the rate of true positives at each
score is that of the other positive rows (leave one out); a difference of two systems, whose biases cancel, is not
corrected.

The areas of several classes, and those of two systems, are combined by MOVER (Zou and Donner, Construction of
confidence intervals about effect measures, Statistics in Medicine 27, 2008).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from textgate.components.metrics.classification import Classes, Floats, counts_by_threshold
from textgate.components.metrics.proportions import CONFIDENCE

_ASSUMED = 10
"""Misplaced rows that the standard error of the area alone counts as."""
_BISECTIONS = 50
_Z = float(norm.ppf((1 + CONFIDENCE) / 2))

Ends = tuple[float, float]


class _Area(NamedTuple):
    """Area of one class against the others, with the ends of its interval."""

    value: float
    low: float
    high: float
    influence: Floats
    """Derivative of the area by the weight of each row, (n,) float64."""


def roc_auc_interval(truth: Classes, probabilities: Floats) -> Ends:
    """Return the ends of the 95 % interval of ROC-AUC.

    Args:
        truth: True classes, (n,) int64; every class occurs.
        probabilities: (n, classes) float64.
    """
    area = _combine(_roc_auc, truth, probabilities)
    return area.low, area.high


def pr_auc_interval(truth: Classes, probabilities: Floats) -> Ends:
    """Return the ends of the 95 % interval of PR-AUC; the arguments are those of ``roc_auc_interval``."""
    area = _combine(_average_precision_without_bias, truth, probabilities)
    return area.low, area.high


def pr_auc_difference_interval(truth: Classes, probabilities: Floats, reference: Floats) -> Ends:
    """Return the ends of the 95 % interval of the PR-AUC of ``probabilities`` minus that of ``reference``.

    MOVER for correlated estimates: the correlation is that of the rows' influences on the two areas.

    Args:
        truth: True classes, (n,) int64; every class occurs.
        probabilities: (n, classes) float64.
        reference: Probabilities of the model to compare with, (n, classes) float64.
    """
    first, second = (_combine(_average_precision, truth, each) for each in (probabilities, reference))
    norms = float(np.linalg.norm(first.influence) * np.linalg.norm(second.influence))
    correlation = float(first.influence @ second.influence) / norms if norms else 0.0

    def distance(one: float, other: float) -> float:
        return float(np.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0)))

    difference = first.value - second.value
    return (
        difference - distance(first.value - first.low, second.high - second.value),
        difference + distance(first.high - first.value, second.value - second.low),
    )


def _combine(area: Callable[[npt.NDArray[np.bool_], Floats], _Area], truth: Classes, probabilities: Floats) -> _Area:
    """Return the area of class 1 of two classes, and the mean of the areas of more."""
    classes = probabilities.shape[1]
    if classes == 2:
        return area(truth == 1, probabilities[:, 1])
    areas = [area(truth == c, probabilities[:, c]) for c in range(classes)]
    influence = np.array([each.influence for each in areas])
    value, low, high = np.array([each[:3] for each in areas]).T
    independent = float((influence**2).sum())
    ratio = float((influence.sum(axis=0) ** 2).sum()) / independent if independent else 1.0
    below, above = (float(np.sqrt(ratio * (side**2).sum())) / classes for side in (value - low, high - value))
    mean = float(value.mean())
    return _Area(mean, mean - below, mean + above, influence.mean(axis=0))


def _roc_auc(positive: npt.NDArray[np.bool_], scores: Floats) -> _Area:
    ranks, positives = rankdata(scores), int(positive.sum())
    negatives = len(scores) - positives
    # Share of the negative rows below each positive row, and of the positive rows above each negative row.
    below = (ranks[positive] - rankdata(scores[positive])) / negatives
    above = 1 - (ranks[~positive] - rankdata(scores[~positive])) / positives
    value = float(below.mean())
    influence = np.empty(len(scores))
    influence[positive], influence[~positive] = (below - value) / positives, (above - value) / negatives
    misplaced = min(int(np.sum((share > 0) & (share < 1))) for share in (below, above))

    def assumed(area: float) -> float:
        """Return the variance of Hanley and McNeil."""
        excess = (positives - 1) * (1 - area) / (2 - area) + (negatives - 1) * area / (1 + area)
        return area * (1 - area) * (1 + excess) / (positives * negatives)

    return _Area(value, *_ends(value, float((influence**2).sum()), misplaced, assumed), influence)


def _average_precision_without_bias(positive: npt.NDArray[np.bool_], scores: Floats) -> _Area:
    return _average_precision(positive, scores, corrected=True)


def _average_precision(positive: npt.NDArray[np.bool_], scores: Floats, *, corrected: bool = False) -> _Area:
    """Return average precision; if ``corrected``, the lower end allows for its bias on few positive rows."""
    tp, predicted, thresholds = counts_by_threshold(positive.astype(np.int64), scores)
    positives, precision = int(tp[-1]), tp / predicted
    own = np.diff(tp, prepend=0)
    value = float(own @ precision) / positives
    # A row counts in the precision at its own score and at all lower ones.
    lower = np.cumsum((own / predicted)[::-1])[::-1]
    lower_precision = np.cumsum((own * precision / predicted)[::-1])[::-1]
    group = len(thresholds) - 1 - np.searchsorted(thresholds[::-1], scores)
    influence = (positive * (precision[group] - value + lower[group]) - lower_precision[group]) / positives
    misplaced = int(own[precision < 1].sum())

    def assumed(area: float) -> float:
        """Return the variance of a proportion of the positive rows."""
        return area * (1 - area) / positives

    variance = float((influence**2).sum())
    low, high = _ends(value, variance, misplaced, assumed)
    if corrected and positives > 1:
        others, counted = (tp - 1) * positives / (positives - 1), own * (tp > 1)
        without_own = float(counted @ (others / np.maximum(others + predicted - tp, 1))) / counted.sum()
        low, _ = _ends(min(value, without_own), variance, misplaced, assumed)
    return _Area(value, low, high, influence)


def _ends(value: float, variance: float, misplaced: int, assumed: Callable[[float], float]) -> Ends:
    """Return the areas that are 1.96 standard errors below and above ``value``."""
    relative = variance / (value * (1 - value)) if 0 < value < 1 else 0.0

    def solve(inside: float, outside: float) -> float:
        for _ in range(_BISECTIONS):
            area = (inside + outside) / 2
            pooled = (misplaced * relative * area * (1 - area) + _ASSUMED * assumed(area)) / (misplaced + _ASSUMED)
            inside, outside = (area, outside) if (value - area) ** 2 <= _Z**2 * pooled else (inside, area)
        return (inside + outside) / 2

    return solve(value, 0.0), solve(value, 1.0)
