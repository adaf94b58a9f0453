"""Every metric equals scikit-learn's; every interval contains it, and possible values only."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.metrics import (
    METRICS,
    accuracy_estimate,
    calibration_error,
    class_scores,
    estimates,
    f1_estimate,
    scores,
)

Predictions = tuple[np.ndarray, np.ndarray, np.ndarray]
TIED = [0.0, 1e-300, 1e-9, 0.2, 0.5, 0.500000001, 0.9, 1.0]


@st.composite
def predictions(draw: st.DrawFn, every_class: bool = True) -> Predictions:
    """Draw true classes, independent predicted classes, and probabilities with ties and extreme values."""
    classes = draw(st.integers(2, 5))
    rows = draw(st.integers(classes, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    truth = rng.integers(0, classes, rows)
    if every_class:
        truth[:classes] = range(classes)
    raw = (
        rng.choice(TIED, (rows, classes)) if draw(st.booleans()) else rng.random((rows, classes)) ** rng.integers(1, 9)
    )
    raw[raw.sum(axis=1) == 0] = 1
    return truth, rng.integers(0, classes, rows), raw / raw.sum(axis=1, keepdims=True)


def expected(truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return the metrics of scikit-learn, and the calibration error, which it lacks, bin by bin from its definition."""
    classes = probabilities.shape[1]
    every = {"labels": list(range(classes)), "zero_division": 0}
    headline = {"average": "binary", "zero_division": 0} if classes == 2 else {"average": "macro", **every}
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    indices = np.minimum(np.floor(confidence * 15), 14)
    bins = [indices == index for index in range(15) if (indices == index).any()]
    by_class = {"y_score": probabilities[:, 1]} if classes == 2 else {"y_score": probabilities, "average": "macro"}
    ranked = truth if classes == 2 else np.eye(classes, dtype=int)[truth]
    return {
        "f1": sk.f1_score(truth, predicted, **headline),
        "accuracy": sk.accuracy_score(truth, predicted),
        "precision": sk.precision_score(truth, predicted, **headline),
        "recall": sk.recall_score(truth, predicted, **headline),
        "macro_f1": sk.f1_score(truth, predicted, average="macro", **every),
        "weighted_f1": sk.f1_score(truth, predicted, average="weighted", **every),
        "roc_auc": sk.roc_auc_score(ranked, **by_class),
        "pr_auc": sk.average_precision_score(ranked, **by_class),
        "mcc": sk.matthews_corrcoef(truth, predicted),
        "log_loss": sk.log_loss(truth, probabilities, labels=list(range(classes))),
        "calibration_error": sum(rows.mean() * abs(correct[rows].mean() - confidence[rows].mean()) for rows in bins),
    }


@settings(deadline=None, max_examples=60)
@given(predictions())
def test_every_metric_equals_scikit_learn(predictions_and_truth: Predictions) -> None:
    results = scores(*predictions_and_truth)
    assert list(results) == list(METRICS)
    assert results == pytest.approx(expected(*predictions_and_truth), rel=1e-12, abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(predictions())
def test_scores_per_class_equal_scikit_learn(predictions_and_truth: Predictions) -> None:
    truth, predicted, probabilities = predictions_and_truth
    labels = list(range(probabilities.shape[1]))
    rows = sk.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    results = class_scores(truth, predicted, len(labels))
    for one, precision, recall, f1, count in zip(results, *rows, strict=True):
        values = (one.precision.value, one.recall.value, one.f1.value, one.rows)
        assert values == pytest.approx((precision, recall, f1, count), abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(predictions(every_class=False))
def test_an_interval_contains_the_value_and_possible_values_only(predictions_and_truth: Predictions) -> None:
    truth, _, probabilities = predictions_and_truth
    results = estimates(*predictions_and_truth)
    # An area under a curve is defined only if a class has positive and negative rows.
    undefined = set() if len(set(truth)) == probabilities.shape[1] else {"roc_auc", "pr_auc"}
    assert set(METRICS) - set(results) == undefined
    for name, estimate in results.items():
        lowest, highest = {"mcc": -1.0, "log_loss": 0.0}.get(name, 0.0), {"log_loss": math.inf}.get(name, 1 + 1e-12)
        assert lowest <= estimate.low <= estimate.value <= estimate.high <= highest, name


def test_every_function_gives_the_same_interval_for_a_metric() -> None:
    truth, predicted, probabilities = simulated(300, (0.5, 0.3, 0.2), 1.0, 1.0, np.random.default_rng(1))
    results = estimates(truth, predicted, probabilities)
    assert results == estimates(truth, predicted, probabilities)
    assert results["f1"] == results["macro_f1"] == f1_estimate(truth, predicted, 3)
    assert results["accuracy"] == accuracy_estimate(truth, predicted)
    assert results["calibration_error"].value == calibration_error(truth, probabilities)


def simulated(
    rows: int, prior: Sequence[float], apart: float, sharpened: float, rng: np.random.Generator
) -> Predictions:
    """Simulate a classifier with normal logits.

    Args:
        rows: Number of rows.
        prior: Probability of each class.
        apart: Difference of the mean logits of the true class and the others.
        sharpened: Factor on the logits; the probabilities are calibrated if it equals ``apart``.
        rng: Random generator.
    """
    truth = rng.choice(len(prior), size=rows, p=prior)
    logits = rng.normal(size=(rows, len(prior)))
    logits[np.arange(rows), truth] += apart
    logits = sharpened * logits + np.log(prior)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, probabilities.argmax(axis=1), probabilities
