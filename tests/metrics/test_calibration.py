"""Temperature and calibration error, on data with known results."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgate.components.contracts import Calibration
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.metrics import calibration_error, fit_temperature


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


def test_without_a_threshold_the_most_probable_class_is_predicted() -> None:
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6]])
    assert Calibration().predict(probabilities).tolist() == [0, 1]
    assert Calibration(threshold=0.3).predict(probabilities).tolist() == [1, 1]
    assert Calibration(threshold=0.7).predict(probabilities).tolist() == [0, 0]
