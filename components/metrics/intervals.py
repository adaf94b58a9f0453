"""Metrics with 95 % intervals: one method for each kind of metric.

- Proportions (accuracy, precision, recall and F1 of one class): ``proportions``.
- Macro averages, weighted F1 and the Matthews correlation: ``composites``.
- Areas under curves: ``areas``. Log loss and calibration error: ``losses``.
- Paired differences: the smoothed Dirichlet bootstrap of ``resample_cells``.

In the simulations of ``tests/metrics/test_coverage.py``, an interval contains the true value in about 92 % of the data
sets or more, also with 30 rows, 1 % of positive rows or 0.5 % of errors. That is no guarantee for every true value: the
minimum of a proportion's interval is 91.2 % (``proportions``), and for the other methods no minimum is known. Where the
data say too little, the estimate says why, and its interval is the range of the metric (``Estimate.withheld``).
"""

import numpy as np

from textgate.components.contracts import Estimate
from textgate.components.contracts.evaluation import ClassScores
from textgate.components.metrics.areas import pr_auc_interval, roc_auc_interval
from textgate.components.metrics.calibration import calibration_error
from textgate.components.metrics.classification import (
    Classes,
    Floats,
    accuracy,
    class_counts,
    class_metrics,
    f1,
    per_class,
)
from textgate.components.metrics.composites import class_intervals, macro_interval, mcc_interval, weighted_f1_interval
from textgate.components.metrics.losses import calibration_error_interval, loss_rows, mean_loss_interval
from textgate.components.metrics.probability import MAX_LOSS, ProbabilityScores, row_losses
from textgate.components.metrics.proportions import mid_p
from textgate.components.metrics.resampling import interval, resample_cells, resampled_f1

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
"""Metric name to its title. Lower is better for the last two, higher for the others."""

_MIN_LOSS_ROWS = 10
"""Smallest number of rows that must carry the log loss for an interval."""
_MIN_POSITIVES = 5
"""Smallest number of positive rows for an interval of PR-AUC."""
_FEW_CLASS_ROWS = 10
"""If most classes have fewer rows, a mean over the classes is biased downwards and has no interval."""

_BASIS = {
    "precision": "no text is predicted as the class",
    "recall": "no text has the class",
    "f1": "no text has the class or is predicted as it",
}
"""Reason why a score of a class says nothing."""


def scores(truth: Classes, predicted: Classes, probabilities: Floats) -> dict[str, float]:
    """Return every metric in ``METRICS``, in the same order.

    ``class_metrics`` and ``ProbabilityScores`` define them. ROC-AUC and PR-AUC are left out if a class has no rows or
    all rows, because they are undefined then.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    classes = probabilities.shape[1]
    weighted = ProbabilityScores(truth, probabilities).weighted(np.ones((1, len(truth))))
    values = {name: float(value) for name, value in class_metrics(*class_counts(truth, predicted, classes)).items()}
    values |= {name: float(value[0]) for name, value in weighted.items()}
    values["calibration_error"] = calibration_error(truth, probabilities)
    class_missing = len(np.unique(truth)) < classes
    return {name: values[name] for name in METRICS if not (class_missing and name in ("roc_auc", "pr_auc"))}


def estimates(truth: Classes, predicted: Classes, probabilities: Floats) -> dict[str, Estimate]:
    """Return ``scores`` with their 95 % intervals.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        probabilities: (n, classes) float64.
    """
    classes, values = probabilities.shape[1], scores(truth, predicted, probabilities)
    support = np.bincount(truth, minlength=classes)
    of_classes = prediction_estimates(truth, predicted, classes) | {
        "log_loss": _log_loss(values["log_loss"], row_losses(truth, probabilities), probabilities),
        "calibration_error": _estimate(
            values["calibration_error"], calibration_error_interval(truth, probabilities), len(truth)
        ),
    }
    for name, area_interval in (("roc_auc", roc_auc_interval), ("pr_auc", pr_auc_interval)):
        if name in values:
            rows = np.minimum(support, len(truth) - support)
            withheld = _thin(rows) if classes > 2 else _few_positives(name, int(support[1]))
            ends = area_interval(truth, probabilities)
            of_classes[name] = _estimate(values[name], ends, int(rows.min()), withheld=withheld)
    return {name: of_classes[name] for name in values}


def prediction_estimates(truth: Classes, predicted: Classes, classes: int) -> dict[str, Estimate]:
    """Return the metrics of ``estimates`` that need no probabilities.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        classes: Number of classes.
    """
    values = class_metrics(*class_counts(truth, predicted, classes))
    weighted_f1, mcc = float(values["weighted_f1"]), float(values["mcc"])
    return {
        "f1": f1_estimate(truth, predicted, classes),
        "accuracy": accuracy_estimate(truth, predicted),
        "precision": _headline("precision", truth, predicted, classes),
        "recall": _headline("recall", truth, predicted, classes),
        "macro_f1": macro_estimate("f1", truth, predicted, classes),
        "weighted_f1": _estimate(weighted_f1, weighted_f1_interval(truth, predicted, classes), len(truth)),
        "mcc": _mcc(mcc, truth, predicted, classes),
    }


def class_scores(truth: Classes, predicted: Classes, classes: int) -> list[ClassScores]:
    """Return precision, recall and F1 of each class, with 95 % intervals, in the order of the classes."""
    counts = class_counts(truth, predicted, classes)
    by_name = {name: _class_estimates(name, *counts) for name in ("precision", "recall", "f1")}
    return [
        ClassScores(rows=int(rows), **{name: estimates[c] for name, estimates in by_name.items()})
        for c, rows in enumerate(counts[2])
    ]


def f1_estimate(truth: Classes, predicted: Classes, classes: int) -> Estimate:
    """Return ``f1`` with its 95 % interval."""
    return _headline("f1", truth, predicted, classes)


def accuracy_estimate(truth: Classes, predicted: Classes) -> Estimate:
    """Return ``accuracy`` with its 95 % interval."""
    low, high = mid_p(np.array(float(np.sum(truth == predicted))), np.array(float(len(truth))))
    return _estimate(accuracy(truth, predicted), (float(low), float(high)), len(truth))


def f1_difference(truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate:
    """Return F1 of ``predicted`` minus F1 of ``reference``, with its 95 % paired interval.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        reference: Classes predicted by the model to compare with, (n,) int64.
        classes: Number of classes.
    """
    cells, draws = resample_cells(truth, predicted, reference, classes)
    resampled, resampled_reference = (resampled_f1(cells[:, 0], cells[:, column], draws, classes) for column in (1, 2))
    difference = f1(truth, predicted, classes) - f1(truth, reference, classes)
    return interval(difference, resampled - resampled_reference)


def _headline(name: str, truth: Classes, predicted: Classes, classes: int) -> Estimate:
    """Return ``precision``, ``recall`` or ``f1`` of class 1 for two classes, and its macro average for more."""
    if classes == 2:
        return _class_estimates(name, *class_counts(truth, predicted, classes))[1]
    return macro_estimate(name, truth, predicted, classes)


def _class_estimates(name: str, tp: Floats, predicted: Floats, support: Floats) -> list[Estimate]:
    """Return the estimates of ``precision``, ``recall`` or ``f1`` of each class, in the order of the classes."""
    values, (low, high) = per_class(tp, predicted, support)[name], class_intervals(name, tp, predicted, support)
    rows, basis = _rows(name, tp, predicted, support)
    return [
        _estimate(float(values[c]), (low[c], high[c]), int(rows[c]), withheld=None if basis[c] else _BASIS[name])
        for c in range(len(tp))
    ]


def macro_estimate(
    name: str, truth: Classes, predicted: Classes, classes: int, averaged: int | None = None
) -> Estimate:
    """Return the mean of ``precision``, ``recall`` or ``f1`` over the classes; see ``macro_interval``."""
    averaged = averaged or classes
    counts = class_counts(truth, predicted, classes)
    rows, basis = (each[:averaged] for each in _rows(name, *counts))
    missing = int(np.sum(basis == 0))
    withheld = f"{missing} of {averaged} classes: {_BASIS[name]}" if missing else _thin(rows)
    ends = macro_interval(name, truth, predicted, classes, averaged)
    value = float(per_class(*counts)[name][:averaged].mean())
    return _estimate(value, ends, int(rows.min()), withheld=withheld)


def _rows(name: str, tp: Floats, predicted: Floats, support: Floats) -> tuple[Floats, Floats]:
    """Return the rows of each class that mark its score, and its denominator as a proportion."""
    return {
        "precision": (predicted, predicted),
        "recall": (support, support),
        "f1": (support, predicted + support - tp),
    }[name]


def _thin(rows: Floats | Classes) -> str | None:
    """Return the reason to withhold the interval of a mean over classes with these rows, or None."""
    thin = int(np.sum(rows < _FEW_CLASS_ROWS))
    if thin <= len(rows) / 2:
        return None
    return f"{thin} of {len(rows)} classes have fewer than {_FEW_CLASS_ROWS} texts"


def _few_positives(name: str, positives: int) -> str | None:
    # Average precision is biased upwards if there are few positive rows.
    few = name == "pr_auc" and positives < _MIN_POSITIVES
    return f"fewer than {_MIN_POSITIVES} texts have the class" if few else None


def _mcc(value: float, truth: Classes, predicted: Classes, classes: int) -> Estimate:
    counts = np.bincount(truth, minlength=classes)
    withheld = _thin(counts) if classes > 2 else None
    if classes == 2 and counts.min() == 1:
        withheld = "a single text has one of the classes"
    for answers, owner in ((truth, "all texts have"), (predicted, "the model predicts")):
        if len(np.unique(answers)) == 1:
            withheld = f"{owner} a single class"
    return _estimate(value, mcc_interval(truth, predicted, classes), len(truth), lowest=-1.0, withheld=withheld)


def _log_loss(value: float, losses: Floats, probabilities: Floats) -> Estimate:
    rows = int(loss_rows(losses, probabilities))
    withheld = f"{rows} texts make up the loss" if rows < _MIN_LOSS_ROWS else None
    return _estimate(value, mean_loss_interval(losses), rows, highest=MAX_LOSS, withheld=withheld)


def _estimate(
    value: float,
    ends: tuple[float, float],
    rows: int,
    *,
    lowest: float = 0.0,
    highest: float = 1.0,
    withheld: str | None = None,
) -> Estimate:
    """Return an estimate whose interval contains the value and stays in the range of the metric."""
    low, high = (lowest, highest) if withheld else (max(lowest, ends[0]), min(highest, ends[1]))
    return Estimate(value=value, low=min(value, float(low)), high=max(value, float(high)), rows=rows, withheld=withheld)
