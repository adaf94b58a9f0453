"""Every metric is scikit-learn's, and every interval covers what it should."""

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

BatchPrediction = tuple[np.ndarray, np.ndarray, np.ndarray]
TIED = [0.0, 1e-300, 1e-9, 0.2, 0.5, 0.500000001, 0.9, 1.0]


@st.composite
def answers(draw: st.DrawFn, every_class: bool = True) -> BatchPrediction:
    """Classes, answers that need not be the most probable class, and probabilities with ties and extremes."""
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
    """By scikit-learn, but for the calibration error, which it does not have: bin by bin, as its definition reads."""
    classes = probabilities.shape[1]
    every = {"labels": list(range(classes)), "zero_division": 0}
    headline = {"average": "binary", "zero_division": 0} if classes == 2 else {"average": "macro", **every}
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum(np.floor(confidence * 15), 14)
    bins = [place == number for number in range(15) if (place == number).any()]
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
        "calibration_error": sum(some.mean() * abs(right[some].mean() - confidence[some].mean()) for some in bins),
    }


@settings(deadline=None, max_examples=60)
@given(answers())
def test_every_metric_is_scikit_learns(given_answers: BatchPrediction) -> None:
    found = scores(*given_answers)
    assert list(found) == list(METRICS)
    assert found == pytest.approx(expected(*given_answers), rel=1e-12, abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(answers())
def test_scores_of_classes_are_scikit_learns(given_answers: BatchPrediction) -> None:
    truth, predicted, probabilities = given_answers
    labels = list(range(probabilities.shape[1]))
    rows = sk.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    found = class_scores(truth, predicted, len(labels))
    for one, precision, recall, f1, count in zip(found, *rows, strict=True):
        values = (one.precision.value, one.recall.value, one.f1.value, one.rows)
        assert values == pytest.approx((precision, recall, f1, count), abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(answers(every_class=False))
def test_an_interval_is_of_numbers_around_the_value_within_what_is_possible(given_answers: BatchPrediction) -> None:
    truth, _, probabilities = given_answers
    found = estimates(*given_answers)
    # An area under a curve needs rows that are of a class and rows that are not.
    undefined = set() if len(set(truth)) == probabilities.shape[1] else {"roc_auc", "pr_auc"}
    assert set(METRICS) - set(found) == undefined
    for name, estimate in found.items():
        lowest, highest = {"mcc": -1.0, "log_loss": 0.0}.get(name, 0.0), {"log_loss": math.inf}.get(name, 1 + 1e-12)
        assert lowest <= estimate.low <= estimate.value <= estimate.high <= highest, name


def test_an_interval_is_the_same_wherever_it_is_shown() -> None:
    truth, predicted, probabilities = drawn(300, (0.5, 0.3, 0.2), 1.0, 1.0, np.random.default_rng(1))
    found = estimates(truth, predicted, probabilities)
    assert found == estimates(truth, predicted, probabilities)
    assert found["f1"] == found["macro_f1"] == f1_estimate(truth, predicted, 3)
    assert found["accuracy"] == accuracy_estimate(truth, predicted)
    assert found["calibration_error"].value == calibration_error(truth, probabilities)


def drawn(
    rows: int, prior: Sequence[float], apart: float, sharpened: float, rng: np.random.Generator
) -> BatchPrediction:
    """Normal scores ``apart`` between right and wrong classes; calibrated when ``sharpened`` is ``apart``."""
    truth = rng.choice(len(prior), size=rows, p=prior)
    logits = rng.normal(size=(rows, len(prior)))
    logits[np.arange(rows), truth] += apart
    logits = sharpened * logits + np.log(prior)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, probabilities.argmax(axis=1), probabilities


@pytest.mark.parametrize(
    ("rows", "prior", "apart", "sharpened"),
    [
        pytest.param(500, (0.6, 0.4), 1.2, 2.0, marks=pytest.mark.slow, id="two classes"),
        pytest.param(500, (0.8, 0.2), 1.5, 2.5, marks=pytest.mark.long, id="uneven"),
        pytest.param(400, (0.5, 0.3, 0.2), 1.5, 2.5, marks=pytest.mark.long, id="three classes"),
    ],
)
def test_intervals_cover_the_true_value_in_93_to_97_percent_of_1000_data_sets(
    rows: int, prior: tuple[float, ...], apart: float, sharpened: float
) -> None:
    # All are overconfident: near a calibration error of 0 its interval, which begins there, covers it oftener.
    rng = np.random.default_rng(0)
    true = scores(*drawn(2_000_000, prior, apart, sharpened, rng))
    covered = dict.fromkeys(METRICS, 0)
    for _ in range(1_000):
        for name, estimate in estimates(*drawn(rows, prior, apart, sharpened, rng)).items():
            covered[name] += estimate.low <= true[name] <= estimate.high
    assert {name: times for name, times in covered.items() if not 930 <= times <= 970} == {}
