"""F1 on a sample in which not every class occurs, such as a slice or the texts that a perturbation changes.

Macro F1 over all classes counts every absent class as 0. Here it is the mean over the classes with true rows in the
sample, as ``sklearn.metrics.f1_score(labels=np.unique(truth), average="macro")``.
"""

import numpy as np

from textgate.components.contracts import Estimate
from textgate.components.metrics import f1_difference, f1_estimate, interval
from textgate.components.metrics.classification import Classes, Floats, class_counts, per_class
from textgate.components.metrics.intervals import macro_estimate
from textgate.components.metrics.resampling import resample_cells, resampled_counts


def sample_f1(truth: Classes, predicted: Classes, classes: int) -> Estimate | None:
    """Return the F1 of class 1 for two classes, and the mean over the classes in ``truth`` for more.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        classes: Number of classes of the task.

    Returns:
        F1 with its 95 % interval; None if all rows have the same true class, or there are none.
    """
    present = np.unique(truth)
    if len(present) < 2:
        return None
    if classes == 2:
        return f1_estimate(truth, predicted, classes)
    numbered = np.searchsorted(present, truth), _renumbered(predicted, present)
    return macro_estimate("f1", *numbered, len(present) + 1, averaged=len(present))


def sample_f1_difference(truth: Classes, predicted: Classes, reference: Classes, classes: int) -> Estimate | None:
    """Return ``sample_f1`` of ``predicted`` minus that of ``reference``, with its 95 % paired interval.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        reference: Predicted classes to compare with, (n,) int64.
        classes: Number of classes of the task.
    """
    if len(np.unique(truth)) < 2:
        return None
    if classes == 2:
        return f1_difference(truth, predicted, reference, classes)
    cells, draws = resample_cells(truth, predicted, reference)
    resampled, resampled_reference = (
        _mean_of_present(*resampled_counts(cells[:, 0], cells[:, column], draws, classes)) for column in (1, 2)
    )
    value, reference_value = (
        float(_mean_of_present(*class_counts(truth, answers, classes))) for answers in (predicted, reference)
    )
    return interval(value - reference_value, resampled - resampled_reference)


def _renumbered(predicted: Classes, present: Classes) -> Classes:
    """Return the index of each class in ``present``, (n,) int64; absent classes have the index after the last."""
    index = np.minimum(np.searchsorted(present, predicted), len(present) - 1)
    return np.where(present[index] == predicted, index, len(present))


def _mean_of_present(tp: Floats, predicted: Floats, support: Floats) -> Floats:
    """Return the mean F1 of the classes with support, (...,) float64, for counts (..., classes)."""
    present = support > 0
    return np.asarray((per_class(tp, predicted, support)["f1"] * present).sum(axis=-1) / present.sum(axis=-1))
