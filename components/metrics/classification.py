"""Scores of predicted classes: accuracy, precision, recall, F1 and the Matthews correlation coefficient.

All of them follow from three counts per class: true positives ``tp``, predictions ``predicted`` and rows ``support``.
The values equal those of scikit-learn with ``zero_division=0``.
"""

import numpy as np
import numpy.typing as npt

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def confusion(truth: Classes, predicted: Classes, classes: int) -> Classes:
    """Return the confusion matrix, (classes, classes) int64: rows are true classes, columns predicted classes."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def class_counts(truth: Classes, predicted: Classes, classes: int) -> tuple[Floats, Floats, Floats]:
    """Return ``tp``, ``predicted`` and ``support``, each (classes,) float64."""
    matrix = confusion(truth, predicted, classes).astype(np.float64)
    return np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)


def per_class(tp: Floats, predicted: Floats, support: Floats) -> dict[str, Floats]:
    """Return precision, recall and F1 of each class, in the shape of the counts; 0 where the denominator is 0."""
    return {
        "precision": _ratio(tp, predicted),
        "recall": _ratio(tp, support),
        "f1": _ratio(2 * tp, predicted + support),
    }


def class_metrics(tp: Floats, predicted: Floats, support: Floats) -> dict[str, Floats]:
    """Return every metric that depends on the predicted classes only.

    F1, precision and recall are those of class 1 for two classes and macro averages for more. The Matthews correlation
    of several classes: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient (2004);
    it is 0 if all rows have the same true class or the same predicted class.

    Args:
        tp: True positives per class, (..., classes) float64.
        predicted: Predictions per class, in the same shape.
        support: Rows per true class, in the same shape.

    Returns:
        Name (see ``METRICS``) to values in the shape of the counts without the last axis.
    """
    classes = per_class(tp, predicted, support)
    rows, correct = support.sum(axis=-1), tp.sum(axis=-1)
    spread = np.sqrt((rows**2 - (predicted**2).sum(axis=-1)) * (rows**2 - (support**2).sum(axis=-1)))
    return {
        "f1": binary_or_macro(classes["f1"]),
        "accuracy": _ratio(correct, rows),
        "precision": binary_or_macro(classes["precision"]),
        "recall": binary_or_macro(classes["recall"]),
        "macro_f1": classes["f1"].mean(axis=-1),
        "weighted_f1": _ratio((classes["f1"] * support).sum(axis=-1), rows),
        "mcc": _ratio(correct * rows - (predicted * support).sum(axis=-1), spread),
    }


def binary_or_macro(values: Floats) -> Floats:
    """Reduce values per class, (..., classes): take class 1 of two classes, average over more."""
    return np.asarray(values[..., 1] if values.shape[-1] == 2 else values.mean(axis=-1))


def f1(truth: Classes, predicted: Classes, classes: int) -> float:
    """Return the F1 of class 1 for two classes and macro F1 for more.

    Args:
        truth: True classes, (n,) int64.
        predicted: Predicted classes, (n,) int64.
        classes: Number of classes.
    """
    return float(binary_or_macro(per_class(*class_counts(truth, predicted, classes))["f1"]))


def accuracy(truth: Classes, predicted: Classes) -> float:
    """Return the share of equal entries of ``truth`` (n,) and ``predicted`` (n,), both int64."""
    return float(np.mean(truth == predicted))


def counts_by_threshold(truth: Classes, scores: Floats) -> tuple[Classes, Classes, Floats]:
    """Count the rows at or above each distinct score, from the highest score to the lowest.

    Args:
        truth: True classes of a binary task, (n,) of 0 and 1.
        scores: Probability of class 1, (n,) float64.

    Returns:
        True positives, predicted positives, and the distinct scores, each (distinct scores,).
    """
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    return np.cumsum(truth[order])[last_of_ties], last_of_ties + 1, scores[order][last_of_ties]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
