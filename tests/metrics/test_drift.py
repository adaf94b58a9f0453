"""Drift tests: their level, their power, and the effect without its bias."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score

from textgate.components.metrics import drift
from textgate.components.metrics.drift import (
    DriftTest,
    correct,
    expected_predictions,
    label_drift,
    population_stability_index,
    separation,
    share_at_index,
    value_drift,
)

MIN_PSI = 0.05


@pytest.fixture
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation test has its level with any number of permutations, if each test draws its own; few are fast."""
    monkeypatch.setattr(drift, "_PERMUTATIONS", 199)
    monkeypatch.setattr(drift, "SEED", np.random.default_rng(13))


def counts(values: np.ndarray) -> dict[str, int]:
    return {str(label): int(count) for label, count in enumerate(values)}


def shares(labels: int, shape: str) -> np.ndarray:
    weights = np.ones(labels) if shape == "uniform" else 1 / np.arange(1, labels + 1)
    return weights / weights.sum()


def simulate(
    seed: int, runs: int, reference: tuple[int, np.ndarray], sample: tuple[int, np.ndarray], smallest: float = 0
) -> Iterator[DriftTest]:
    rng = np.random.default_rng(seed)
    for _ in range(runs):
        yield label_drift(counts(rng.multinomial(*reference)), counts(rng.multinomial(*sample)), smallest)


def within_level(alarms: int, runs: int) -> bool:
    """Return whether a level of 5 % explains the alarms: at most 3 standard deviations above it."""
    return alarms <= runs * drift.LEVEL + 3 * (runs * drift.LEVEL * (1 - drift.LEVEL)) ** 0.5


@pytest.mark.usefixtures("few_permutations")
@pytest.mark.parametrize(("labels", "shape"), [(2, "uniform"), (150, "uniform"), (150, "Zipf")])
def test_label_drift_raises_few_false_alarms(labels: int, shape: str) -> None:
    same = shares(labels, shape)
    tests = list(simulate(13, 200, (400, same), (500, same)))
    assert within_level(sum(test.p_value <= drift.LEVEL for test in tests), len(tests))
    assert abs(np.mean([test.effect for test in tests])) < 0.03


def test_without_its_bias_the_index_of_many_labels_would_raise_false_alarms_only() -> None:
    rng = np.random.default_rng(13)
    raw = [population_stability_index(*rng.multinomial(500, shares(150, "uniform"), 2)) for _ in range(20)]
    assert min(raw) > 0.25


@pytest.mark.long
@pytest.mark.usefixtures("few_permutations")
@pytest.mark.parametrize("shape", ["uniform", "Zipf"])
@pytest.mark.parametrize("rows", [150, 1_280, 10_000])
@pytest.mark.parametrize("answers", [500, 2_000, 20_000])
@pytest.mark.parametrize("labels", [2, 5, 20, 77, 150])
def test_label_drift_keeps_its_level(labels: int, answers: int, rows: int, shape: str) -> None:
    same = shares(labels, shape)
    tests = list(simulate(labels, 500, (rows, same), (answers, same)))
    assert within_level(sum(test.p_value <= drift.LEVEL for test in tests), len(tests))


@pytest.mark.usefixtures("few_permutations")
@pytest.mark.parametrize("rows", [300, 1_280])
def test_three_times_as_many_positives_are_found_in_2_000_answers(rows: int) -> None:
    tests = simulate(13, 100, (rows, np.array([0.95, 0.05])), (2_000, np.array([0.85, 0.15])), MIN_PSI)
    # Corrected for two other tests.
    found = [test.p_value * 3 <= drift.LEVEL and test.effect >= MIN_PSI for test in tests]
    assert np.mean(found) >= 0.8


def test_a_significant_change_that_is_too_small_is_no_drift() -> None:
    test = label_drift({"no": 95_000, "yes": 5_000}, {"no": 94_000, "yes": 6_000}, MIN_PSI)
    assert test.p_value < 0.001
    assert not test.found
    assert label_drift({"no": 95_000, "yes": 5_000}, {"no": 85_000, "yes": 15_000}, MIN_PSI).found


@pytest.mark.usefixtures("few_permutations")
@pytest.mark.parametrize("rows", [300, 20_000])
def test_the_detectable_index_is_found_in_four_of_five_cases(rows: int) -> None:
    share = 0.2
    detectable = label_drift({"a": int(rows * 0.8), "b": int(rows * share)}, {"a": 400, "b": 100}, MIN_PSI).detectable
    risen = share_at_index(share, detectable)
    assert (risen - share) * np.log(risen / share) + (share - risen) * np.log((1 - risen) / (1 - share)) == (
        pytest.approx(detectable)
    )
    tests = simulate(13, 300, (rows, np.array([1 - share, share])), (500, np.array([1 - risen, risen])), MIN_PSI)
    assert np.mean([test.found for test in tests]) == pytest.approx(drift.POWER, abs=0.08)


def test_the_p_value_is_that_of_the_g_test_if_all_counts_are_large() -> None:
    first, second = [400, 300, 300], [360, 330, 310]
    expected = chi2_contingency([first, second], lambda_="log-likelihood").pvalue
    test = label_drift(counts(np.array(first)), counts(np.array(second)), MIN_PSI)
    assert test.p_value == pytest.approx(expected, abs=0.02)
    assert label_drift({"a": 10}, {"a": 10}, MIN_PSI).p_value == 1


Counts = st.lists(st.integers(1, 1000), min_size=4, max_size=4).map(np.array)


@given(Counts, Counts)
@settings(deadline=None, max_examples=50)
def test_the_index_is_zero_for_equal_shares_and_grows_with_the_distance(first: np.ndarray, second: np.ndarray) -> None:
    assert population_stability_index(first, first) == pytest.approx(0)
    assert population_stability_index(first, second) >= 0
    assert population_stability_index(first, second) == pytest.approx(population_stability_index(second, first))


def test_the_index_matches_the_formula() -> None:
    # (.9 - .5) ln(.9 / .5) + (.1 - .5) ln(.1 / .5), except for the half rows.
    index = population_stability_index(np.array([50_000, 50_000]), np.array([90_000, 10_000]))
    assert index == pytest.approx(0.8789, abs=1e-3)
    assert np.isfinite(population_stability_index(np.array([10, 0]), np.array([0, 10])))


def test_value_drift_has_its_level_with_ties_and_finds_a_shift() -> None:
    rng = np.random.default_rng(13)
    same = [value_drift(rng.poisson(20, 300).tolist(), rng.poisson(20, 500).tolist(), 0.0) for _ in range(300)]
    assert within_level(sum(test.p_value <= drift.LEVEL for test in same), len(same))
    shifted = value_drift(rng.poisson(20, 300).tolist(), rng.poisson(24, 500).tolist(), 0.1)
    assert shifted.found
    assert 0.1 < shifted.detectable < shifted.effect
    long = value_drift(rng.poisson(200, 20_000).tolist(), rng.poisson(201, 20_000).tolist(), 0.1)
    assert long.p_value < drift.LEVEL
    assert not long.found


def test_separation_is_the_roc_auc_and_has_its_level() -> None:
    rng = np.random.default_rng(13)
    first, second = rng.normal(0, 1, 200), rng.normal(1, 1, 300)
    test = separation(first, second, 0.6)
    assert test.effect == pytest.approx(roc_auc_score([0] * 200 + [1] * 300, [*first, *second]))
    assert test.found
    assert not separation(second, first, 0.6).found
    same = [separation(rng.normal(size=200), rng.normal(size=300), 0.5) for _ in range(300)]
    assert within_level(sum(test.found for test in same), len(same))


def test_tests_are_corrected_together() -> None:
    tests = {name: DriftTest(1, 0, p, 1) for name, p in (("a", 0.01), ("b", 0.04), ("c", 0.03))}
    assert [test.p_value for test in correct(tests).values()] == pytest.approx([0.03, 0.06, 0.06])
    assert [test.found for test in correct(tests).values()] == [True, False, False]


def test_a_balanced_test_split_is_compared_at_the_natural_prevalence() -> None:
    """5 % of the traffic is positive, half of the test split; the classifier finds 90 % and errs on 8 % of the rest."""
    rng = np.random.default_rng(3)

    def predicted(rows: int, positive: float) -> np.ndarray:
        truth = rng.random(rows) < positive
        answers = np.where(truth, rng.random(rows) < 0.9, rng.random(rows) < 0.08)
        return np.bincount(truth * 2 + answers, minlength=4).reshape(2, 2)

    def found(positive: float, natural: list[int] | None) -> float:
        alarms = 0
        for _ in range(60):
            confusion = np.array([predicted(500, 0)[0], predicted(500, 1)[1]])
            reference = confusion.sum(axis=0) if natural is None else expected_predictions(confusion.tolist(), natural)
            alarms += label_drift(
                counts(np.array(reference)), counts(predicted(2_000, positive).sum(axis=0)), 0.05
            ).found
        return alarms / 60

    assert found(0.05, None) == 1.0, "without the correction it is an alarm for ever"
    assert found(0.05, [9_500, 500]) <= 0.05
    assert found(0.2, [9_500, 500]) >= 0.8


def test_expected_predictions_are_the_rates_of_the_classifier_times_the_natural_shares() -> None:
    no, yes = expected_predictions([[460, 40], [50, 450]], [9_500, 500])
    effective = 1 / (500 * (0.95 / 500) ** 2 + 500 * (0.05 / 500) ** 2)
    assert no + yes == pytest.approx(effective, abs=1)
    assert yes / (no + yes) == pytest.approx(0.95 * 0.08 + 0.05 * 0.9, abs=0.001)
    # A sample that has the natural shares is as it was.
    assert expected_predictions([[80, 20], [5, 15]], [1_000, 200]) == [85, 35]
    # A label without texts in the sample counts for nothing.
    assert expected_predictions([[80, 20, 0], [5, 15, 0], [0, 0, 0]], [1_000, 200, 7]) == [85, 35, 0]
