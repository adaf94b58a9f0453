"""Scores of constant answers: the same label for every text (scikit-learn's DummyClassifier, strategy constant)."""

from typing import NamedTuple

import numpy as np

from textgate.components.metrics.classification import Classes, binary_or_macro, class_metrics


class ConstantAnswer(NamedTuple):
    """Class that is predicted for every text, and the value of a metric that this reaches."""

    class_index: int
    """Index of the class."""
    value: float
    """Value of the metric."""


def best_constant_answer(metric: str, truth: Classes, classes: int) -> ConstantAnswer:
    """Return the constant answer with the highest value of a metric; of equally good ones, the most frequent class.

    For accuracy it is the most frequent class, for the F1 of one class it is that class. The Matthews correlation of
    every constant answer is 0. A constant score ranks nothing: its PR-AUC is the share of positive rows.

    Args:
        metric: ``pr_auc``, or a metric that ``class_metrics`` returns.
        truth: True classes, (n,) int64.
        classes: Number of classes.
    """
    support = np.bincount(truth, minlength=classes).astype(np.float64)
    if metric == "pr_auc":
        return ConstantAnswer(int(support.argmax()), float(binary_or_macro(support / len(truth))))
    values = class_metrics(np.diag(support), len(truth) * np.eye(classes), np.tile(support, (classes, 1)))[metric]
    best = max(range(classes), key=lambda index: (values[index], support[index]))
    return ConstantAnswer(best, float(values[best]))
