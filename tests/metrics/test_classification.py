"""Scores of predicted classes and the ROC curve equal scikit-learn's; intervals equal those of resampled rows."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

from textgate.components import metrics


@settings(deadline=None, max_examples=40)
@given(classes=st.integers(2, 5), data=st.data())
def test_values_equal_scikit_learn(classes: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=60))
    truth, predicted = np.array(rows, dtype=np.int64).T
    labels = list(range(classes))
    average = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": labels}
    assert metrics.f1(truth, predicted, classes) == pytest.approx(
        f1_score(truth, predicted, zero_division=0, **average), abs=1e-12
    )
    assert metrics.accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted), abs=1e-12)
    np.testing.assert_array_equal(
        metrics.confusion(truth, predicted, classes), confusion_matrix(truth, predicted, labels=labels)
    )


def binary_predictions(rows: int, accuracy: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, 2, rows)
    return truth, np.where(rng.random(rows) < accuracy, truth, 1 - truth)


def test_f1_intervals_cover_the_true_f1_in_95_percent() -> None:
    # Balanced classes, both predicted correctly with probability 0.8: F1 is 0.8.
    rng = np.random.default_rng(0)
    intervals = [metrics.f1_estimate(*binary_predictions(400, 0.8, rng), 2) for _ in range(400)]
    covered = np.mean([interval.low <= 0.8 <= interval.high for interval in intervals])
    assert 0.92 <= covered <= 0.98


def test_resampling_cells_is_equivalent_to_resampling_rows() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = binary_predictions(500, 0.8, rng)
    drawn = [rng.integers(0, 500, 500) for _ in range(2_000)]
    rows = np.quantile([metrics.f1(truth[row], predicted[row], 2) for row in drawn], [0.025, 0.975])
    cells = metrics.f1_estimate(truth, predicted, 2)
    assert [cells.low, cells.high] == pytest.approx(rows, abs=0.006)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(2)
    truth, good = binary_predictions(1_000, 0.9, rng)
    poor = np.where(rng.random(1_000) < 0.15, 1 - good, good)
    better = metrics.f1_difference(truth, good, poor, 2)
    worse = metrics.f1_difference(truth, poor, good, 2)
    assert better.low > 0 > worse.high
    assert better.value == pytest.approx(-worse.value, abs=1e-12)
    same = metrics.f1_difference(truth, good, good, 2)
    assert same.value == 0
    assert -0.005 < same.low < 0 < same.high < 0.005


def test_intervals_are_deterministic() -> None:
    truth, predicted = binary_predictions(100, 0.7, np.random.default_rng(3))
    assert metrics.f1_estimate(truth, predicted, 2) == metrics.f1_estimate(truth, predicted, 2)


@settings(deadline=None, max_examples=40)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.50001, 0.9, 1.0]), min_size=2, max_size=50),
    seed=st.integers(0, 99),
)
def test_the_roc_curve_has_the_area_of_scikit_learn(scores: list[float], seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, len(scores))
    truth[:2] = [0, 1]
    false_rate, true_rate, thresholds = metrics.roc_points(truth, np.array(scores))
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(false_rate) >= 0)
    assert np.all(np.isfinite(thresholds))
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)


def naive_interval(statistic: Callable[[np.ndarray], float], rows: int) -> list[float]:
    """Return the percentile interval of a statistic over resampled rows."""
    rng = np.random.default_rng(5)
    low, high = np.quantile([statistic(rng.integers(0, rows, rows)) for _ in range(2_000)], [0.025, 0.975])
    return [float(low), float(high)]


def test_intervals_of_many_classes_and_of_differences_equal_those_of_resampled_rows() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 4, 400)
    first, second = (np.where(rng.random(400) < share, truth, rng.integers(0, 4, 400)) for share in (0.7, 0.6))

    def macro(rows: np.ndarray) -> float:
        return metrics.f1(truth[rows], first[rows], 4)

    def difference(rows: np.ndarray) -> float:
        return macro(rows) - metrics.f1(truth[rows], second[rows], 4)

    def correct(rows: np.ndarray) -> float:
        return metrics.accuracy(truth[rows], first[rows])

    for estimate, statistic in (
        (metrics.f1_estimate(truth, first, 4), macro),
        (metrics.f1_difference(truth, first, second, 4), difference),
        (metrics.accuracy_estimate(truth, first), correct),
    ):
        assert [estimate.low, estimate.high] == pytest.approx(naive_interval(statistic, 400), abs=0.01)
        assert estimate.value == pytest.approx(statistic(np.arange(400)), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(classes=st.integers(2, 5), data=st.data())
def test_a_difference_with_swapped_arguments_is_its_negative(classes: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 3), min_size=1, max_size=40))
    truth, ours, theirs = np.array(rows, dtype=np.int64).T
    forth, back = (
        metrics.f1_difference(truth, ours, theirs, classes),
        metrics.f1_difference(truth, theirs, ours, classes),
    )
    assert forth.value == pytest.approx(-back.value, abs=1e-12)
    assert forth.value == pytest.approx(
        metrics.f1(truth, ours, classes) - metrics.f1(truth, theirs, classes), abs=1e-12
    )
    same = metrics.f1_difference(truth, ours, ours, classes)
    assert same.value == 0
    assert same.low < 0 < same.high


@settings(deadline=None, max_examples=40)
@given(classes=st.integers(2, 5), data=st.data())
def test_every_interval_contains_possible_values_only(classes: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=40))
    truth, predicted = np.array(rows, dtype=np.int64).T
    np.testing.assert_allclose(
        [scores.f1.value for scores in metrics.class_scores(truth, predicted, classes)],
        f1_score(truth, predicted, labels=list(range(classes)), average=None, zero_division=0),
        atol=1e-12,
    )
    for estimate in (metrics.f1_estimate(truth, predicted, classes), metrics.accuracy_estimate(truth, predicted)):
        assert 0 <= estimate.low <= estimate.high <= 1 + 1e-12


def test_a_single_row_says_little() -> None:
    # The mid-P interval of 1 in 1 begins at 5 %: half the probability of 1 in 1 is 2.5 % there.
    one = np.array([1], dtype=np.int64)
    right, wrong = metrics.f1_estimate(one, one, 2), metrics.f1_estimate(one, 1 - one, 2)
    assert (right.value, right.low, right.high) == pytest.approx((1, 2 * 0.05 / 1.05, 1))
    assert (wrong.value, wrong.low, wrong.high) == pytest.approx((0, 0, 2 * 0.95 / 1.95))
    assert str(right) == "1.0000 [0.0952, 1.0000; 1 text]"


@pytest.mark.parametrize("points", [10, 200])
def test_a_long_roc_curve_is_subsampled_and_keeps_its_area(points: int) -> None:
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, 20_000)
    scores = 1 / (1 + np.exp(-(truth + rng.normal(size=20_000))))
    false_rate, true_rate, thresholds = (np.array(axis) for axis in metrics.roc_points(truth, scores, points))
    assert len(false_rate) == len(true_rate) == len(thresholds) <= points + 1
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(false_rate) >= 0)
    assert np.all(np.diff(true_rate) >= 0)
    assert np.all(np.diff(thresholds) <= 0)
    assert (thresholds[0], thresholds[-1]) == (1, scores.min())
    area = np.trapezoid(true_rate, false_rate)
    assert area == pytest.approx(roc_auc_score(truth, scores), abs=2e-3 if points == 200 else 2e-2)
    # A point is what its threshold gives.
    middle = len(thresholds) // 2
    called = scores >= thresholds[middle]
    assert true_rate[middle] == pytest.approx(called[truth == 1].mean(), abs=1e-12)
    assert false_rate[middle] == pytest.approx(called[truth == 0].mean(), abs=1e-12)
