"""Smoothed Dirichlet bootstrap of the confusion matrices of two systems on the same rows.

A resample of the rows affects a confusion matrix only through the weight of each (truth, predicted, …) cell, and the
weights of the Bayesian bootstrap have a Dirichlet distribution (Rubin, The Bayesian bootstrap, Annals of Statistics 9,
1981). The same resamples serve both systems, which makes differences paired (Koehn, Statistical Significance Tests for
Machine Translation Evaluation, EMNLP 2004).

A sixth of a row is added to cells that may be empty by chance: for each class, all four combinations of two systems
that predict it or another class. Otherwise two systems that agree on a small sample would have a difference without
any uncertainty. The other class is always the next one, so that the number of cells does not grow with the square of
the number of classes; for two classes, these are all the cells.
"""

import numpy as np

from textgate.components.contracts import Estimate
from textgate.components.metrics.classification import Classes, Floats, binary_or_macro, per_class
from textgate.components.metrics.proportions import CONFIDENCE

RESAMPLES = 4_000
SEED = 13
_SMOOTHING = 1 / 6
"""Rows added to each smoothed cell."""


def resample_cells(
    truth: Classes, predicted: Classes, reference: Classes, classes: int | None = None
) -> tuple[Classes, Floats]:
    """Draw the weights of rows in the resamples, grouped by equal rows.

    Args:
        truth: True classes, (n,) int64.
        predicted: Classes predicted by one system, (n,) int64.
        reference: Classes predicted by the other system, (n,) int64.
        classes: Number of classes; if None, only the true classes of the rows are smoothed.

    Returns:
        The distinct rows of true class and predictions, (cells, 3) int64, and their weights in each resample, which
        sum to n, (RESAMPLES, cells) float64.
    """
    names = np.unique(truth) if classes is None else np.arange(classes)
    smoothed = [
        (name, first, second)
        for name, other in zip(names, np.roll(names, -1), strict=True)
        for first in (name, other)
        for second in (name, other)
    ]
    rows = np.concatenate([np.stack([truth, predicted, reference], axis=1), smoothed])
    cells, index = np.unique(rows, axis=0, return_inverse=True)
    weights = np.repeat([1.0, _SMOOTHING], [len(truth), len(smoothed)])
    draws = np.random.default_rng(SEED).standard_gamma(np.bincount(index.ravel(), weights), (RESAMPLES, len(cells)))
    return cells, draws * (len(truth) / draws.sum(axis=1, keepdims=True))


def resampled_counts(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return ``tp``, ``predicted`` and ``support`` of every resample, each (resamples, classes) float64.

    Args:
        truth: True class of each cell, (cells,) int64.
        predicted: Predicted class of each cell, (cells,) int64.
        draws: Weight of each cell in each resample, (resamples, cells) float64.
        classes: Number of classes.
    """
    is_true = truth[:, None] == np.arange(classes)
    is_predicted = predicted[:, None] == np.arange(classes)
    return draws @ (is_true & is_predicted), draws @ is_predicted, draws @ is_true


def resampled_f1(truth: Classes, predicted: Classes, draws: Floats, classes: int) -> Floats:
    """Return ``f1`` of every resample, (resamples,) float64; the arguments are those of ``resampled_counts``."""
    return binary_or_macro(per_class(*resampled_counts(truth, predicted, draws, classes))["f1"])


def interval(value: float, resampled: Floats) -> Estimate:
    """Return ``value`` with the interval of the central 95 % of the resampled values, which is widened to contain it.

    Args:
        value: Value on the original rows.
        resampled: Values on the resamples, (resamples,) float64; NaN is ignored.
    """
    low, high = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)))
