"""Precision-recall and reliability curves equal those of scikit-learn (ROC: see test_classification.py)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, precision_score, recall_score

from textgate.components.metrics import calibration_error, precision_recall_points, reliability


@settings(deadline=None, max_examples=40)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.50001, 0.9, 1.0]), min_size=2, max_size=50),
    seed=st.integers(0, 99),
)
def test_precision_and_recall_equal_scikit_learn_at_every_threshold(scores: list[float], seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, len(scores))
    truth[:2] = [0, 1]
    recall, precision, thresholds = map(np.array, precision_recall_points(truth, np.array(scores)))
    expected = precision_recall_curve(truth, scores)
    np.testing.assert_allclose(precision[1:], expected[0][:-1][::-1], atol=1e-12)
    np.testing.assert_allclose(recall[1:], expected[1][:-1][::-1], atol=1e-12)
    np.testing.assert_array_equal(thresholds[1:], expected[2][::-1])
    assert (recall[0], precision[0], recall[-1]) == (0, precision[1], 1)
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_a_long_precision_recall_curve_is_subsampled() -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, 20_000)
    scores = 1 / (1 + np.exp(-(truth + rng.normal(size=20_000))))
    recall, precision, thresholds = map(np.array, precision_recall_points(truth, scores, 50))
    assert len(recall) == len(precision) == len(thresholds) == 51
    assert (np.diff(recall) >= 0).all()
    assert recall[-1] == 1
    for point in (5, 25, 45):
        predicted = scores >= thresholds[point]
        assert precision[point] == pytest.approx(precision_score(truth, predicted), abs=1e-12)
        assert recall[point] == pytest.approx(recall_score(truth, predicted), abs=1e-12)


def test_curves_are_finite_if_a_class_has_no_rows() -> None:
    for truth in (np.zeros(5, dtype=np.int64), np.ones(5, dtype=np.int64)):
        recall, precision, _ = precision_recall_points(truth, np.linspace(0, 1, 5))
        assert np.isfinite([recall, precision]).all()


@settings(deadline=None, max_examples=40)
@given(classes=st.integers(2, 4), rows=st.integers(1, 80), bins=st.integers(2, 20), seed=st.integers(0, 999))
def test_reliability_equals_scikit_learn_and_its_gaps_the_calibration_error(
    classes: int, rows: int, bins: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    truth = rng.integers(0, classes, rows)
    points = reliability(truth, probabilities)
    gaps = sum(count * abs(confidence - right) for confidence, right, count in points) / rows
    assert gaps == pytest.approx(calibration_error(truth, probabilities), abs=1e-12)
    assert sum(count for *_, count in points) == rows
    confidence, share, _ = zip(*reliability(truth == 1, probabilities[:, 1], bins), strict=True)
    expected = calibration_curve(truth == 1, probabilities[:, 1], n_bins=bins)
    np.testing.assert_allclose([share, confidence], expected, atol=1e-12)
