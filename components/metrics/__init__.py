"""What the judgements are computed with."""

from textgate.components.metrics.calibration import (
    calibration_error,
    fit_temperature,
    threshold_for_f1,
    threshold_for_precision,
)
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
    "calibration_error",
    "confusion",
    "f1",
    "f1_difference",
    "f1_estimate",
    "fit_temperature",
    "per_class_f1",
    "roc_points",
    "threshold_for_f1",
    "threshold_for_precision",
]
