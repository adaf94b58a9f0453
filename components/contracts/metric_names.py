"""Names of the metrics that a gate can judge by, and their names in sentences."""

from collections.abc import Sequence
from typing import Literal, get_args

GateMetric = Literal["f1", "macro_f1", "weighted_f1", "accuracy", "mcc", "pr_auc"]
GATE_METRICS: tuple[GateMetric, ...] = get_args(GateMetric)

_OF_ONE_CLASS = {"f1": "F1", "pr_auc": "PR-AUC"}
"""Metrics that are those of the last label for two labels, and means over the labels for more."""
_OF_ALL_CLASSES = {
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "mcc": "Matthews correlation",
}
METRIC_TITLES = _OF_ONE_CLASS | _OF_ALL_CLASSES
"""Name of each metric in a sentence, without a class."""


def metric_title(metric: str, labels: Sequence[str]) -> str:
    """Return the name of a metric with the class that it is about, such as ``F1 of 'spam'`` or ``macro F1``.

    Args:
        metric: One of ``GATE_METRICS``.
        labels: Label names in class order.
    """
    if metric in _OF_ALL_CLASSES:
        return _OF_ALL_CLASSES[metric]
    title = _OF_ONE_CLASS[metric]
    return f"{title} of {labels[-1]!r}" if len(labels) == 2 else f"macro {title}"
