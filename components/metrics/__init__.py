"""Metrics, confidence intervals, significance tests and calibration."""

from textgate.components.metrics.calibration import calibration_error, fit_temperature
from textgate.components.metrics.classification import accuracy, confusion, f1
from textgate.components.metrics.curves import precision_recall_points, reliability, roc_points
from textgate.components.metrics.intervals import (
    METRICS,
    accuracy_estimate,
    class_scores,
    estimates,
    f1_difference,
    f1_estimate,
    prediction_estimates,
    scores,
)
from textgate.components.metrics.resampling import RESAMPLES, SEED, interval
from textgate.components.metrics.significance import PairedTest, holm, paired_test
from textgate.components.metrics.thresholds import threshold_for_f1, threshold_for_precision

__all__ = [
    "METRICS",
    "RESAMPLES",
    "SEED",
    "PairedTest",
    "accuracy",
    "accuracy_estimate",
    "calibration_error",
    "class_scores",
    "confusion",
    "estimates",
    "f1",
    "f1_difference",
    "f1_estimate",
    "fit_temperature",
    "holm",
    "interval",
    "paired_test",
    "precision_recall_points",
    "prediction_estimates",
    "reliability",
    "roc_points",
    "scores",
    "threshold_for_f1",
    "threshold_for_precision",
]
