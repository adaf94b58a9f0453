"""What the judgements are computed with."""

from textgate.components.metrics.classification import (
    accuracy,
    accuracy_estimate,
    confusion,
    f1,
    f1_difference,
    f1_estimate,
    per_class_f1,
    roc_points,
)

__all__ = [
    "accuracy",
    "accuracy_estimate",
    "confusion",
    "f1",
    "f1_difference",
    "f1_estimate",
    "per_class_f1",
    "roc_points",
]
