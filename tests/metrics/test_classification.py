import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score

from textgate.components import metrics


@settings(deadline=None, max_examples=100)
@given(classes=st.integers(2, 5), data=st.data())
def test_point_values_are_those_of_scikit_learn(classes: int, data: st.DataObject) -> None:
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


def answers(rows: int, accuracy: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.integers(0, 2, rows)
    return truth, np.where(rng.random(rows) < accuracy, truth, 1 - truth)


def test_intervals_cover_the_true_f1_as_often_as_they_say() -> None:
    # Balanced classes answered rightly with probability 0.8, whichever the class: F1 is 0.8.
    rng = np.random.default_rng(0)
    intervals = [metrics.f1_estimate(*answers(400, 0.8, rng), 2) for _ in range(400)]
    covered = np.mean([interval.low <= 0.8 <= interval.high for interval in intervals])
    assert 0.92 <= covered <= 0.98


def test_resampling_cells_is_resampling_rows() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = answers(500, 0.8, rng)
    drawn = [rng.integers(0, 500, 500) for _ in range(2_000)]
    rows = np.quantile([metrics.f1(truth[row], predicted[row], 2) for row in drawn], [0.025, 0.975])
    cells = metrics.f1_estimate(truth, predicted, 2)
    assert [cells.low, cells.high] == pytest.approx(rows, abs=0.006)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(2)
    truth, good = answers(1_000, 0.9, rng)
    poor = np.where(rng.random(1_000) < 0.15, 1 - good, good)
    better = metrics.f1_difference(truth, good, poor, 2)
    worse = metrics.f1_difference(truth, poor, good, 2)
    assert better.low > 0 > worse.high
    assert better.value == pytest.approx(-worse.value, abs=1e-12)
    same = metrics.f1_difference(truth, good, good, 2)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_same_answers_have_the_same_interval() -> None:
    truth, predicted = answers(100, 0.7, np.random.default_rng(3))
    assert metrics.f1_estimate(truth, predicted, 2) == metrics.f1_estimate(truth, predicted, 2)


@settings(deadline=None, max_examples=40)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.50001, 0.9, 1.0]), min_size=2, max_size=50),
    seed=st.integers(0, 99),
)
def test_the_roc_curve_has_scikit_learns_area(scores: list[float], seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, len(scores))
    truth[:2] = [0, 1]
    false_rate, true_rate, thresholds = metrics.roc_points(truth, np.array(scores))
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert np.all(np.diff(false_rate) >= 0)
    assert np.all(np.isfinite(thresholds))
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
