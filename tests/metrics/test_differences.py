"""Differences in every metric of a gate, paired and between splits: values of scikit-learn, intervals that cover."""

import numpy as np
import pytest
from sklearn import metrics as reference

from textgate.components.contracts import Estimate
from textgate.components.metrics import accuracy_estimate, f1, f1_difference, f1_estimate
from textgate.components.metrics.differences import (
    comparison_level,
    lower_bound,
    metric_difference,
    pr_auc_difference,
    validation_gap,
)

RNG = np.random.default_rng(7)
TRUTH = RNG.integers(0, 3, 400)
FIRST, SECOND = (np.where(RNG.random(400) < share, RNG.integers(0, 3, 400), TRUTH) for share in (0.3, 0.5))


def test_the_difference_in_f1_is_that_of_f1_difference() -> None:
    assert metric_difference("f1", TRUTH, FIRST, SECOND, 3) == f1_difference(TRUTH, FIRST, SECOND, 3)


def test_values_equal_those_of_scikit_learn() -> None:
    for metric, score in (
        ("accuracy", reference.accuracy_score),
        ("mcc", reference.matthews_corrcoef),
        ("weighted_f1", lambda truth, predicted: reference.f1_score(truth, predicted, average="weighted")),
    ):
        difference = metric_difference(metric, TRUTH, FIRST, SECOND, 3)
        assert difference.value == pytest.approx(score(TRUTH, FIRST) - score(TRUTH, SECOND))
        assert difference.low < difference.value < difference.high


def test_the_difference_in_pr_auc_is_that_of_scikit_learn_and_its_interval_covers_the_true_one() -> None:
    """Two independent rankings of equal quality: the true difference is 0."""
    rng, covered, runs = np.random.default_rng(3), 0, 40
    for _ in range(runs):
        truth = (rng.random(150) < 0.3).astype(np.int64)
        scores = [1 / (1 + np.exp(-(1.5 * truth + rng.normal(size=150)))) for _ in range(2)]
        first, second = (np.stack([1 - score, score], axis=1) for score in scores)
        difference = pr_auc_difference(truth, first, second)
        expected = reference.average_precision_score(truth, scores[0]) - reference.average_precision_score(
            truth, scores[1]
        )
        assert difference.value == pytest.approx(expected)
        covered += difference.low <= 0 <= difference.high
    assert covered >= 0.85 * runs


@pytest.mark.parametrize(("rows", "prevalence", "distance"), [(30, 0.5, 3.5), (100, 0.05, 3.5), (100, 0.5, 1.5)])
def test_a_model_with_a_lower_pr_auc_by_the_margin_is_seldom_within_it(
    rows: int, prevalence: float, distance: float
) -> None:
    """Scores of both models share 95 % of their variance within a class."""

    def sample(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        truth, shared = (rng.random(count) < prevalence).astype(np.int64), rng.normal(size=count)
        positive = [
            1 / (1 + np.exp(-(mean * truth + np.sqrt(0.95) * shared + np.sqrt(0.05) * rng.normal(size=count))))
            for mean in (0.95 * distance, distance)
        ]
        worse, better = (np.stack([1 - score, score], axis=1) for score in positive)
        return truth, worse, better

    margin = -pr_auc_difference(*sample(200_000, np.random.default_rng(8))).value
    rng, data_sets = np.random.default_rng(9), 250
    samples = [sample(rows, rng) for _ in range(data_sets)]
    passed = [pr_auc_difference(*each).low >= -margin for each in samples if each[0].any()]
    assert margin > 0.001
    assert sum(passed) <= 0.08 * data_sets


def test_all_comparisons_on_the_same_texts_share_one_level() -> None:
    levels = [comparison_level(uses) for uses in range(1, 2_000)]
    assert levels == sorted(levels, reverse=True)
    assert comparison_level(0) == comparison_level(0.4) == levels[0]
    assert 0.0249 < sum(levels) < 0.025


def test_the_lower_bound_at_the_level_of_the_interval_is_its_lower_end() -> None:
    difference = Estimate(value=0.02, low=-0.01, high=0.06)
    assert lower_bound(difference, 0.025) == pytest.approx(-0.01)
    assert lower_bound(difference, 1e-9) == pytest.approx(0.02 - 0.03 * 5.998 / 1.96, abs=1e-4)


def test_the_gap_of_two_splits_has_the_summed_variance_of_both() -> None:
    test = Estimate(value=0.8, low=0.77, high=0.84, rows=300)
    gap = validation_gap(0.85, 100, test, 400)
    assert gap.value == pytest.approx(0.05)
    # A quarter of the texts doubles the distance from the ends: 0.06 and 0.08 for the validation score.
    assert (gap.value - gap.low, gap.high - gap.value) == pytest.approx((np.hypot(0.06, 0.04), np.hypot(0.08, 0.03)))
    withheld = validation_gap(0.85, 100, test.model_copy(update={"withheld": "no text has the class"}), 400)
    assert withheld.withheld == "no text has the class"


@pytest.mark.parametrize(
    ("validation_rows", "test_rows", "prevalence"), [(30, 45, 0.5), (100, 1_000, 0.05), (1_000, 150, 0.5)]
)
def test_a_gap_by_chance_seldom_excludes_0_and_a_true_one_often_does(
    validation_rows: int, test_rows: int, prevalence: float
) -> None:
    rng, runs = np.random.default_rng(4), 300

    def sample(rows: int, error: float) -> tuple[np.ndarray, np.ndarray]:
        truth = (rng.random(rows) < prevalence).astype(np.int64)
        return truth, np.where(rng.random(rows) < error, 1 - truth, truth)

    def large(gap: Estimate) -> bool:
        return not gap.withheld and not gap.low <= 0 <= gap.high

    by_chance, true = np.zeros(2), 0
    for _ in range(runs):
        (truth, predicted), judged = sample(validation_rows, 0.1), sample(test_rows, 0.1)
        accuracy = float(np.mean(truth == predicted))
        by_chance += [
            large(validation_gap(accuracy, validation_rows, accuracy_estimate(*judged), test_rows)),
            large(validation_gap(f1(truth, predicted, 2), validation_rows, f1_estimate(*judged, 2), test_rows)),
        ]
        worse = accuracy_estimate(*sample(test_rows, 0.45))
        true += large(validation_gap(accuracy, validation_rows, worse, test_rows))
    assert (by_chance <= 0.1 * runs).all(), by_chance / runs
    assert true >= 0.85 * runs
