"""Temperature, calibration error and thresholds, on data with known results."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score

from textgate.components.contracts import Calibration, InputError
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.metrics import calibration_error, fit_temperature, threshold_for_f1, threshold_for_precision


def calibrated_predictions(rows: int, classes: int, seed: int = 13) -> tuple[np.ndarray, np.ndarray]:
    """Return classes drawn from random probabilities, and these probabilities: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(rows, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.array([rng.choice(classes, p=row) for row in probabilities]), probabilities


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_fitted_temperature_undoes_a_distortion(classes: int, temperature: float) -> None:
    truth, probabilities = calibrated_predictions(20_000, classes)
    distorted = apply_temperature(probabilities, 1 / temperature)
    assert fit_temperature(truth, distorted) == pytest.approx(temperature, rel=0.05)
    before, after = (
        calibration_error(truth, p)
        for p in (distorted, apply_temperature(distorted, fit_temperature(truth, distorted)))
    )
    assert after < 0.015
    assert temperature == 1 or before > 3 * after


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.1, 0.9]] * 10)
    truth = np.array([1] * 6 + [0] * 4)
    assert calibration_error(truth, probabilities) == pytest.approx(0.3)
    assert calibration_error(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 0


def test_a_split_without_errors_does_not_give_certainty() -> None:
    truth = np.array([0, 1] * 20)
    probabilities = np.where(truth[:, None] == np.arange(2), 0.8, 0.2)
    confidence = apply_temperature(probabilities, fit_temperature(truth, probabilities)).max()
    assert confidence == pytest.approx(1 - 1 / 42, abs=1e-3)


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=6), st.floats(0.1, 10))
def test_a_temperature_keeps_the_order_and_can_be_inverted(weights: list[float], temperature: float) -> None:
    row = np.array([weights]) / sum(weights)
    scaled = apply_temperature(row, temperature)
    assert scaled.sum() == pytest.approx(1)
    # The order never reverses; values that differ by rounding may become equal.
    assert (np.diff(scaled[0, np.argsort(row[0], kind="stable")]) >= -1e-12).all()
    np.testing.assert_allclose(apply_temperature(scaled, 1 / temperature), row, atol=1e-6)


def test_apply_temperature_accepts_no_rows_and_probabilities_of_0_and_1() -> None:
    assert apply_temperature(np.empty((0, 2)), 2.0).shape == (0, 2)
    np.testing.assert_array_equal(apply_temperature(np.array([[0.0, 1.0]]), 3.0), [[0.0, 1.0]])


def test_the_best_threshold_is_as_good_as_any() -> None:
    rng = np.random.default_rng(13)
    truth = rng.integers(0, 2, 400)
    scores = np.round(np.clip(truth * 0.25 + rng.normal(0.3, 0.2, 400), 0, 1), 2)
    threshold = threshold_for_f1(truth, scores)
    best = max(f1_score(truth, scores >= cut) for cut in np.linspace(-0.01, 1.01, 500))
    predicted = Calibration(threshold=threshold).predict(np.stack([1 - scores, scores], axis=1))
    assert f1_score(truth, predicted) == pytest.approx(best)
    assert f1_score(truth, predicted) > f1_score(truth, scores >= 0.5)


def test_the_threshold_for_a_precision_has_the_highest_recall() -> None:
    truth, probabilities = calibrated_predictions(2_000, 2)
    scores = probabilities[:, 1]
    threshold = threshold_for_precision(truth, scores, 0.9)
    assert precision_score(truth, scores >= threshold) >= 0.9
    lower = np.sort(scores[scores < threshold])[-200:]
    assert all(precision_score(truth, scores >= cut) < 0.9 for cut in lower)


def test_an_unreachable_precision_is_rejected_with_the_highest_possible_one() -> None:
    truth, scores = np.array([0, 1, 0, 1]), np.array([0.9, 0.8, 0.2, 0.1])
    with pytest.raises(InputError, match=r"min_precision=0.9 is not reached .* highest precision there is 0\.5000"):
        threshold_for_precision(truth, scores, 0.9)


def test_without_a_threshold_the_most_probable_class_is_predicted() -> None:
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6]])
    assert Calibration().predict(probabilities).tolist() == [0, 1]
    assert Calibration(threshold=0.3).predict(probabilities).tolist() == [1, 1]
    assert Calibration(threshold=0.7).predict(probabilities).tolist() == [0, 0]
