"""F1 on samples in which classes are missing, against scikit-learn and against the F1 of the population."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from textgate.components.evaluate.sample_f1 import sample_f1, sample_f1_difference
from textgate.components.metrics import f1_difference, f1_estimate

LABELS = 77
"""Labels of banking77, on which 5 perturbations changed 25 to 500 of 500 texts."""


def draw(rng: np.random.Generator, rows: int, accuracy: float = 0.88) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted classes; a wrong prediction is any class."""
    truth = rng.integers(0, LABELS, rows)
    return truth, np.where(rng.random(rows) < accuracy, truth, rng.integers(0, LABELS, rows))


def test_the_value_is_that_of_scikit_learn_over_the_classes_of_the_sample() -> None:
    truth, predicted = draw(np.random.default_rng(1), 30)
    found = sample_f1(truth, predicted, LABELS)
    expected = f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert f1_estimate(truth, predicted, LABELS).value < 0.4, "macro F1 over all classes is useless here"
    other = np.where(np.arange(30) % 5 == 0, 0, predicted)
    difference = sample_f1_difference(truth, other, predicted, LABELS)
    expected_other = f1_score(truth, other, labels=np.unique(truth), average="macro", zero_division=0)
    assert difference is not None
    assert difference.value == pytest.approx(expected_other - expected, abs=1e-12)
    assert difference.low < difference.value < difference.high


@pytest.mark.parametrize("rows", [25, 100, 500, 3_000])
def test_samples_estimate_the_f1_of_many_classes_and_lie_well_inside_their_intervals(rows: int) -> None:
    rng = np.random.default_rng(rows)
    true_f1 = f1_score(*draw(rng, 200_000), average="macro")
    found = [one for _ in range(25) if (one := sample_f1(*draw(rng, rows), LABELS))]
    # Biased by a few points where a class has one or two rows; over all classes it would be 0.25 with 25 rows.
    assert np.mean([one.value for one in found]) == pytest.approx(true_f1, abs=0.05)
    assert {one.withheld is None for one in found} == {rows >= 3_000}
    known = [one for one in found if one.withheld is None]
    assert all(0.2 < (one.value - one.low) / (one.high - one.low) < 0.8 for one in known)
    assert np.mean([one.low <= true_f1 <= one.high for one in found]) >= 0.85


def test_predictions_of_absent_classes_lower_f1_and_keep_the_interval_around_it() -> None:
    truth = np.repeat([1, 4], 50)
    predicted = truth.copy()
    predicted[:10] = 0
    predicted[50:55] = 6
    found = sample_f1(truth, predicted, 8)
    assert found is not None
    assert found.withheld is None
    assert found.value == pytest.approx((80 / 90 + 90 / 95) / 2)
    assert 0.83 < found.low < found.value - 0.02
    assert found.value + 0.02 < found.high
    # Without them, as scikit-learn has it.
    predicted = np.where(predicted == truth, truth, 5 - truth)
    within = sample_f1(truth, predicted, 8)
    assert within is not None
    assert within.value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert 0.75 < within.low < within.value - 0.03 < within.value + 0.03 < within.high < 0.95


def test_the_interval_is_that_of_macro_f1_over_the_classes_of_the_sample() -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 3, 150)
    predicted = np.where(rng.random(150) < 0.8, truth, rng.integers(0, 3, 150))
    numbers = np.array([1, 4, 6])
    assert sample_f1(numbers[truth], numbers[predicted], 8) == f1_estimate(truth, predicted, 3)
    # An absent class that is predicted has no F1 of its own.
    predicted[:9] = 3
    with_absent = sample_f1(np.append(numbers, 0)[truth], np.append(numbers, 0)[predicted], 8)
    assert with_absent is not None
    assert with_absent.value == pytest.approx(f1_estimate(truth, predicted, 4).value * 4 / 3)
    assert 0.03 < with_absent.value - with_absent.low < 0.12
    assert 0.03 < with_absent.high - with_absent.value < 0.12


def test_two_classes_have_the_f1_of_the_second_and_one_class_has_none() -> None:
    rng = np.random.default_rng(4)
    truth, predicted, reference = rng.integers(0, 2, (3, 60))
    assert sample_f1(truth, predicted, 2) == f1_estimate(truth, predicted, 2)
    assert sample_f1_difference(truth, predicted, reference, 2) == f1_difference(truth, predicted, reference, 2)
    for classes in (2, 3):
        for only in (0, 1):
            same = np.full(60, only)
            assert sample_f1(same, predicted, classes) is None
            assert sample_f1_difference(same, predicted, reference, classes) is None
    assert sample_f1(np.array([], dtype=np.int64), np.array([], dtype=np.int64), 2) is None
