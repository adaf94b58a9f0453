"""Thresholds do on a population what they promise on a split, or are not kept."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import f1_score, precision_score

from textgate.components.contracts import Calibration
from textgate.components.metrics import threshold_for_f1, threshold_for_precision
from textgate.components.metrics.thresholds import _best_for_f1

RUNS = 200


def draw(rng: np.random.Generator, rows: int, prevalence: float, separation: float) -> tuple[np.ndarray, np.ndarray]:
    """Return classes, and calibrated probabilities of class 1 from a normal score per class."""
    truth = (rng.random(rows) < prevalence).astype(np.int64)
    score = rng.normal(truth * separation)
    odds = prevalence / (1 - prevalence) * np.exp(separation * score - separation**2 / 2)
    return truth, odds / (1 + odds)


def population_rates(threshold: float, prevalence: float, separation: float) -> tuple[float, float]:
    """Return precision and recall of class 1 in the population of ``draw`` at a threshold."""
    odds = threshold / (1 - threshold) * (1 - prevalence) / prevalence
    cut = np.log(odds) / separation + separation / 2
    recall, false_rate = norm.sf(cut - separation), norm.sf(cut)
    called = prevalence * recall + (1 - prevalence) * false_rate
    return prevalence * recall / called, recall


def population_f1(threshold: float, prevalence: float, separation: float) -> float:
    precision, recall = population_rates(threshold, prevalence, separation)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("precision", [0.8, 0.9, 0.95])
@pytest.mark.parametrize(("rows", "prevalence"), [(100, 0.5), (400, 0.1), (1_000, 0.3), (3_000, 0.05)])
def test_the_promised_precision_holds_in_95_of_100_cases(rows: int, prevalence: float, precision: float) -> None:
    rng = np.random.default_rng([rows, int(100 * precision)])
    thresholds = [threshold_for_precision(*draw(rng, rows, prevalence, 2.5), precision) for _ in range(RUNS)]
    missed = [
        threshold is not None and population_rates(threshold, prevalence, 2.5)[0] < precision
        for threshold in thresholds
    ]
    assert np.mean(missed) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / RUNS)


def test_the_lowest_threshold_that_just_reaches_a_precision_would_miss_it_in_half_of_the_cases() -> None:
    """Check that the simulation finds what it is for."""
    rng = np.random.default_rng(1)
    missed = []
    for _ in range(RUNS):
        truth, scores = draw(rng, 1_000, 0.3, 2.5)
        cuts = np.sort(scores)
        tp, called = np.cumsum(truth[np.argsort(scores)][::-1])[::-1], np.arange(len(cuts), 0, -1)
        missed.append(population_rates(cuts[tp >= 0.9 * called].min(), 0.3, 2.5)[0] < 0.9)
    assert np.mean(missed) > 0.4


def test_a_good_model_keeps_a_threshold_and_most_of_the_recall() -> None:
    rng = np.random.default_rng(2)
    best = np.linspace(0.01, 0.99, 99)
    possible = max(population_rates(cut, 0.5, 2.5)[1] for cut in best if population_rates(cut, 0.5, 2.5)[0] >= 0.9)
    thresholds = [threshold_for_precision(*draw(rng, 1_000, 0.5, 2.5), 0.9) for _ in range(50)]
    recalls = [0.0 if threshold is None else population_rates(threshold, 0.5, 2.5)[1] for threshold in thresholds]
    assert np.mean(recalls) > 0.85 * possible


def test_a_precision_that_no_threshold_has_with_confidence_gives_no_threshold() -> None:
    truth, scores = np.array([0, 1] * 20), np.linspace(0.9, 0.1, 40)
    assert threshold_for_precision(truth, scores, 0.9) is None
    # 20 of 20 correct are not enough for 0.9 with 95 % confidence: 0.9 ** 20 = 0.12.
    assert threshold_for_precision(np.ones(20, dtype=np.int64), np.linspace(0.9, 0.6, 20), 0.9) is None
    certain = threshold_for_precision(np.ones(200, dtype=np.int64), np.linspace(0.9, 0.6, 200), 0.9)
    assert certain is not None
    assert certain <= 0.6
    assert threshold_for_precision(np.ones(200, dtype=np.int64), np.linspace(0.9, 0.6, 200), 1.0) is None


def test_the_threshold_for_a_precision_is_at_least_as_precise_on_the_split() -> None:
    truth, scores = draw(np.random.default_rng(3), 2_000, 0.5, 2)
    threshold = threshold_for_precision(truth, scores, 0.9)
    assert threshold is not None
    predicted = Calibration(threshold=threshold).predict(np.stack([1 - scores, scores], axis=1))
    assert precision_score(truth, predicted) > 0.9


@pytest.mark.parametrize(("rows", "prevalence"), [(30, 0.5), (100, 0.3), (300, 0.5), (300, 0.1)])
def test_a_kept_threshold_for_f1_is_rarely_worse_than_one_half(rows: int, prevalence: float) -> None:
    rng = np.random.default_rng([rows, int(100 * prevalence)])
    half = population_f1(0.5, prevalence, 2)
    worse, fitted_worse = [], []
    for _ in range(60):
        truth, scores = draw(rng, rows, prevalence, 2)
        threshold = threshold_for_f1(truth, scores)
        worse.append(threshold is not None and population_f1(threshold, prevalence, 2) < half)
        fitted_worse.append(population_f1(np.clip(_best_for_f1(truth, scores), 0.001, 0.999), prevalence, 2) < half)
    assert np.mean(worse) <= 0.07
    assert prevalence < 0.3 or np.mean(fitted_worse) > 0.1, "without the test, it would be worse more often"


def test_a_threshold_for_f1_is_kept_where_it_helps_and_is_the_best_there() -> None:
    truth, scores = draw(np.random.default_rng(5), 2_000, 0.05, 1.5)
    threshold = threshold_for_f1(truth, scores)
    assert threshold is not None
    assert f1_score(truth, scores >= threshold) == pytest.approx(
        max(f1_score(truth, scores >= cut) for cut in np.linspace(0, 1, 501)), abs=0.01
    )
    assert f1_score(truth, scores >= threshold) > f1_score(truth, scores >= 0.5) + 0.1


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_few_rows_give_no_threshold(rows: int) -> None:
    truth, scores = np.arange(rows) % 2, np.linspace(0.2, 0.7, rows)
    assert threshold_for_f1(truth, scores) is None
    assert threshold_for_precision(truth, scores, 0.5) is None
