"""Intervals equal independent computations by other formulas."""

import time

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm
from simulated_models import Classifier
from sklearn.metrics import average_precision_score

from textgate.components.contracts import Estimate
from textgate.components.metrics import accuracy_estimate, class_scores, estimates, f1_difference, f1_estimate
from textgate.components.metrics.areas import pr_auc_interval, roc_auc_interval
from textgate.components.metrics.classification import class_metrics
from textgate.components.metrics.composites import mcc_interval, weighted_f1_interval
from textgate.components.metrics.losses import mean_loss_interval
from textgate.components.metrics.proportions import mid_p

Z = norm.ppf(0.975)


@pytest.mark.parametrize(("successes", "rows"), [(0, 1), (0, 30), (30, 30), (29, 30), (3, 7), (970, 1000)])
def test_the_interval_of_a_proportion_solves_the_binomial_equations(successes: int, rows: int) -> None:
    low, high = (float(end) for end in mid_p(np.array(float(successes)), np.array(float(rows))))

    def excess(p: float, probability: float) -> float:
        return float(binom.sf(successes, rows, p) + binom.pmf(successes, rows, p) / 2 - probability)

    assert low == pytest.approx(brentq(excess, 0, 1, (0.025,)) if successes else 0, abs=1e-9)
    assert high == pytest.approx(brentq(excess, 0, 1, (0.975,)) if successes < rows else 1, abs=1e-9)
    exact = binomtest(successes, rows).proportion_ci()
    assert exact.low <= low <= successes / rows <= high <= exact.high


@pytest.mark.parametrize(("rows", "minimum"), [(5, 0.931), (6, 0.912), (30, 0.924), (100, 0.920), (1_000, 0.916)])
def test_the_interval_of_a_proportion_covers_in_at_least_91_percent_of_the_cases(rows: int, minimum: float) -> None:
    successes = np.arange(rows + 1.0)
    low, high = mid_p(successes, np.full(rows + 1, float(rows)))
    # Coverage has its minima next to the ends of the intervals.
    proportions = np.concatenate([ends + step for ends in (low, high) for step in (-1e-9, 1e-9)])
    proportions = proportions[(proportions > 0) & (proportions < 1)][:, None]
    covered = (low <= proportions) & (proportions <= high)
    coverage = (binom.pmf(successes, rows, proportions) * covered).sum(axis=1)
    assert minimum < coverage.min() < minimum + 0.001


def test_f1_of_a_class_has_the_transformed_interval_of_its_jaccard_index() -> None:
    truth, predicted = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [40, 5, 8, 200], axis=0).T
    low, high = mid_p(np.array(40.0), np.array(53.0))
    estimate = f1_estimate(truth, predicted, 2)
    assert (estimate.low, estimate.high) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert estimate == class_scores(truth, predicted, 2)[1].f1
    assert estimate.rows == 45


@pytest.mark.parametrize("metric", ["weighted_f1", "mcc"])
def test_composite_intervals_are_as_wide_as_the_delta_method_says_on_many_rows(metric: str) -> None:
    rng = np.random.default_rng(2)
    truth = rng.choice(4, 20_000, p=[0.4, 0.3, 0.2, 0.1])
    predicted = np.where(rng.random(20_000) < 0.8, truth, rng.integers(0, 4, 20_000))
    shares = np.bincount(truth * 4 + predicted, minlength=16) / 20_000

    def value(cells: np.ndarray) -> float:
        matrix = cells.reshape(4, 4)
        return float(class_metrics(np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1))[metric])

    gradient = np.array([(value(shares + step) - value(shares - step)) / 2e-6 for step in 1e-6 * np.eye(16)])
    error = np.sqrt((shares @ gradient**2 - (shares @ gradient) ** 2) / 20_000)
    low, high = (weighted_f1_interval if metric == "weighted_f1" else mcc_interval)(truth, predicted, 4)
    assert high - low == pytest.approx(2 * Z * error, rel=0.01)


def test_the_interval_of_roc_auc_is_delongs_on_many_rows() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random(3_000) < 0.3).astype(np.int64)
    scores = np.round(1 / (1 + np.exp(-(truth + rng.normal(size=3_000)))), 2)
    positive, negative = scores[truth == 1], scores[truth == 0]
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    low, high = roc_auc_interval(truth, np.stack([1 - scores, scores], axis=1))
    assert (low + high) / 2 == pytest.approx(wins.mean(), abs=0.002)
    assert high - low == pytest.approx(2 * Z * np.sqrt(variance), rel=0.02)


def test_areas_without_a_misplaced_row_have_the_intervals_of_hanley_and_mcneil_and_of_wilson() -> None:
    truth = np.repeat([0, 1], [40, 20])
    scores = np.linspace(0.1, 0.9, 60)
    probabilities = np.stack([1 - scores, scores], axis=1)
    low, high = roc_auc_interval(truth, probabilities)
    first, second = low / (2 - low), 2 * low**2 / (1 + low)
    variance = (low * (1 - low) + 19 * (first - low**2) + 39 * (second - low**2)) / (20 * 40)
    assert (1 - low) / np.sqrt(variance) == pytest.approx(Z)
    assert high == pytest.approx(1)
    wilson = binomtest(20, 20).proportion_ci(method="wilson")
    assert pr_auc_interval(truth, probabilities) == pytest.approx((wilson.low, wilson.high))


def test_the_lower_end_of_pr_auc_allows_for_its_upward_bias_on_few_positive_rows() -> None:
    classifier, rng = Classifier(2, 0.01, 0.8), np.random.default_rng(3)
    samples = [(truth, scores) for truth, _, scores in (classifier.sample(1_000, rng) for _ in range(300))]
    true = classifier.true_scores["pr_auc"]
    found = [average_precision_score(truth, scores[:, 1]) for truth, scores in samples]
    assert np.mean(found) > true + 0.04
    assert np.mean([pr_auc_interval(*sample)[0] > true for sample in samples]) < 0.06


def test_a_mean_of_symmetric_losses_has_the_normal_interval_and_a_skewed_one_reaches_further_up() -> None:
    losses = np.tile([0.1, 0.3, 0.5], 50)
    error = Z * losses.std() / np.sqrt(150)
    assert mean_loss_interval(losses) == pytest.approx((0.3 - error, 0.3 + error))
    low, high = mean_loss_interval(np.append(np.full(95, 0.1), np.full(5, 3.0)))
    assert high - 0.245 > 1.5 * (0.245 - low) > 0


def test_a_figure_that_rests_on_few_rows_is_marked() -> None:
    truth, predicted = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [5, 1, 30, 60], axis=0).T
    scores = class_scores(truth, predicted, 2)[1]
    assert (scores.precision.rows, scores.recall.rows, scores.f1.rows) == (35, 6, 6)
    assert (scores.precision.few_rows, scores.recall.few_rows) == (False, True)
    assert str(scores.recall).endswith("; 6 texts]")
    assert not accuracy_estimate(truth, predicted).few_rows


def test_an_interval_that_would_not_cover_is_withheld_with_the_reason() -> None:
    none = np.zeros(50, dtype=np.int64)
    scores = class_scores(none, none, 2)[1]
    for estimate in (scores.precision, scores.recall, scores.f1):
        assert (estimate.value, estimate.low, estimate.high) == (0, 0, 1)
    assert str(scores.recall) == "0.0000 [no interval: no text has the class]"
    assert str(scores.precision) == "0.0000 [no interval: no text is predicted as the class]"
    results = estimates(*Classifier(20, 0.5, 0.97).sample(60, np.random.default_rng(0)))
    assert results["macro_f1"].withheld == results["f1"].withheld
    assert "of 20 classes" in str(results["f1"].withheld)
    assert (results["f1"].low, results["f1"].high) == (0, 1)
    assert results["accuracy"].withheld is None


def test_estimates_of_earlier_versions_can_be_read_and_absent_fields_are_not_written() -> None:
    text = '{"value":0.5,"low":0.4,"high":0.6}'
    estimate = Estimate.model_validate_json(text)
    assert (estimate.few_rows, estimate.withheld, estimate.model_dump_json()) == (False, None, text)


def test_two_systems_that_agree_on_few_rows_may_still_differ() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 2_000)
    widths = []
    for rows in (30, 300, 2_000):
        same = f1_difference(truth[:rows], truth[:rows], truth[:rows], 2)
        assert same.low < 0 == same.value < same.high
        widths.append(same.high - same.low)
    assert 0.2 > widths[0] > 0.02 > widths[1] > widths[2]
    assert widths[2] < 0.003


def test_all_metrics_of_10000_rows_take_less_than_a_second() -> None:
    predictions = Classifier(2, 0.5, 0.97).sample(10_000, np.random.default_rng(5))
    began = time.perf_counter()
    estimates(*predictions)
    assert time.perf_counter() - began < 1
