"""Intervals of metrics that combine the classes: macro and weighted averages and the Matthews correlation.

Two methods extend the interval of a proportion (see ``proportions``) to a function of the cells (truth, predicted):

- MOVER: the distances of the ends from a mean are the root of the summed squares of those of its parts (Zou and Donner,
  Construction of confidence intervals about effect measures, Statistics in Medicine 27, 2008). The F1 of two classes
  share errors, so the squares are multiplied by the ratio of the variance of the mean to that of independent parts.
- Dobson's method: the distances are those of the accuracy, times the ratio of the standard deviations of the metric and
  the accuracy (Dobson et al., Confidence intervals for weighted sums of Poisson parameters, Statistics in Medicine 10,
  1991).

The interval of a macro average is the wider of the two at each end: MOVER allows for rare classes, Dobson's method for
rare errors. Variances are those of influence functions (delta method). A quarter row is added to the correct and to the
wrong predictions for each class, so that no variance is 0.
"""

from typing import NamedTuple

import numpy as np

from textgate.components.metrics.classification import Classes, Floats, class_counts, class_metrics, per_class
from textgate.components.metrics.proportions import f1_of_jaccard, mid_p

_SMOOTHING = 0.25
"""Rows added to the correct, and to the wrong, predictions for each class."""

Ends = tuple[float, float]


def class_intervals(name: str, tp: Floats, predicted: Floats, support: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of ``precision``, ``recall`` or ``f1`` of each class, (classes,) float64 each.

    Args:
        name: Name of the score.
        tp: True positives per class, (classes,) float64.
        predicted: Predictions per class, (classes,) float64.
        support: Rows per true class, (classes,) float64.
    """
    if name != "f1":
        return mid_p(tp, {"precision": predicted, "recall": support}[name])
    low, high = mid_p(tp, predicted + support - tp)
    return f1_of_jaccard(low), f1_of_jaccard(high)


def macro_interval(name: str, truth: Classes, predicted: Classes, classes: int, averaged: int | None = None) -> Ends:
    """Return the ends of the interval of the mean of ``precision``, ``recall`` or ``f1`` over the classes.

    Args:
        name: Name of the score.
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        classes: Number of classes.
        averaged: Number of classes, the first ones, to average over if there are others that are only predicted. The
            scores of these are 0, and so is the influence of a prediction on them.
    """
    averaged = averaged or classes
    counts, cells = class_counts(truth, predicted, classes), _smoothed_cells(truth, predicted, classes, averaged)
    values, low, high = (ends[:averaged] for ends in (per_class(*counts)[name], *class_intervals(name, *counts)))
    by_truth, by_prediction = _class_influence(name, cells, classes)
    independent = cells.mean_square(by_truth) + cells.mean_square(by_prediction)
    ratio = cells.mean_square(by_truth + by_prediction) / independent
    value = float(values.mean())
    below, above = (float(np.sqrt(ratio * (side**2).sum()) / averaged) for side in (values - low, high - values))
    lowest, highest = _dobson(value, (by_truth + by_prediction) / averaged, cells, *counts)
    return min(value - below, lowest), max(value + above, highest)


def weighted_f1_interval(truth: Classes, predicted: Classes, classes: int) -> Ends:
    """Return the ends of the interval of weighted F1."""
    counts, cells = class_counts(truth, predicted, classes), _smoothed_cells(truth, predicted, classes, classes)
    support = np.bincount(cells.truth, cells.share, classes)
    by_truth, by_prediction = _class_influence("f1", cells, classes)
    f1 = per_class(*_class_shares(cells, classes))["f1"]
    # The weight of a class, its share of the rows, varies, too.
    influence = support[cells.truth] * by_truth + support[cells.predicted] * by_prediction + f1[cells.truth]
    return _dobson(float(class_metrics(*counts)["weighted_f1"]), influence, cells, *counts)


def mcc_interval(truth: Classes, predicted: Classes, classes: int) -> Ends:
    """Return the ends of the interval of the Matthews correlation coefficient."""
    counts, cells = class_counts(truth, predicted, classes), _smoothed_cells(truth, predicted, classes, classes)
    tp, columns, rows = _class_shares(cells, classes)
    free_rows, free_columns = 1 - rows @ rows, 1 - columns @ columns
    spread = np.sqrt(free_rows * free_columns)
    correlation = (tp.sum() - rows @ columns) / spread
    influence = (cells.correct - columns[cells.truth] - rows[cells.predicted]) / spread + correlation * (
        rows[cells.truth] / free_rows + columns[cells.predicted] / free_columns
    )
    return _dobson(float(class_metrics(*counts)["mcc"]), influence, cells, *counts)


class _Cells(NamedTuple):
    """Distinct pairs of true and predicted class with their smoothed shares of the rows."""

    truth: Classes
    predicted: Classes
    share: Floats

    @property
    def correct(self) -> Floats:
        return np.where(self.truth == self.predicted, 1.0, 0.0)

    def mean_square(self, values: Floats) -> float:
        return float(self.share @ values**2)

    def deviation(self, values: Floats) -> float:
        return float(np.sqrt(self.mean_square(values - self.share @ values)))


def _smoothed_cells(truth: Classes, predicted: Classes, classes: int, smoothed: int) -> _Cells:
    every = np.arange(smoothed)
    added = np.concatenate([every * classes + every, every * classes + (every + 1) % smoothed])
    cells, index = np.unique(np.concatenate([truth * classes + predicted, added]), return_inverse=True)
    weights = np.bincount(index, np.repeat([1.0, _SMOOTHING], [len(truth), len(added)]))
    return _Cells(cells // classes, cells % classes, weights / weights.sum())


def _class_shares(cells: _Cells, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return true positives, predictions and rows per class as shares of all rows, each (classes,) float64."""
    tp, predicted, support = (
        np.bincount(index, share, classes).astype(np.float64)
        for index, share in (
            (cells.truth, cells.share * cells.correct),
            (cells.predicted, cells.share),
            (cells.truth, cells.share),
        )
    )
    return tp, predicted, support


def _class_influence(name: str, cells: _Cells, classes: int) -> tuple[Floats, Floats]:
    """Return the influence of each cell on the score of its true class, and on that of its predicted class.

    A correct prediction counts in the first one, except for precision, on which only predictions have an influence.
    """
    tp, predicted, support = _class_shares(cells, classes)
    value = per_class(tp, predicted, support)[name]
    of_truth, of_prediction, correct = value[cells.truth], value[cells.predicted], cells.correct
    if name == "recall":
        return (correct - of_truth) / support[cells.truth], np.zeros(len(correct))
    if name == "precision":
        return np.zeros(len(correct)), (correct - of_prediction) / predicted[cells.predicted]
    both = predicted + support
    by_truth = (2 * correct - (1 + correct) * of_truth) / both[cells.truth]
    return by_truth, -(1 - correct) * of_prediction / both[cells.predicted]


def _dobson(value: float, influence: Floats, cells: _Cells, tp: Floats, predicted: Floats, support: Floats) -> Ends:
    """Return the ends of the interval of a metric from those of the accuracy."""
    correct, rows = tp.sum(), support.sum()
    low, high = (float(end) for end in mid_p(correct, rows))
    scale = cells.deviation(influence) / cells.deviation(cells.correct)
    return value - scale * (float(correct / rows) - low), value + scale * (high - float(correct / rows))
