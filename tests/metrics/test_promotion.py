"""Promotion rates of the margin rule for candidates as good as the champion and for worse ones."""

from itertools import product

import numpy as np
import pytest
from simulated_models import Pair

from textgate.components.metrics import f1, f1_difference
from textgate.components.metrics.differences import minimum_detectable_difference

MAX_LEVEL = 0.05
"""Largest share of candidates worse by exactly the margin that are promoted."""


def promotion_rate(pair: Pair, rows: int, margin: float, data_sets: int) -> float:
    """Return the share of data sets on which the lower end of the interval of the difference is above the margin."""
    rng = np.random.default_rng(1)
    samples = (pair.sample(rows, rng) for _ in range(data_sets))
    return float(np.mean([f1_difference(*sample, pair.classes).low >= -margin for sample in samples]))


def percentile_rate(pair: Pair, rows: int, margin: float, data_sets: int) -> float:
    """Return the promotion rate of the percentile bootstrap without smoothing."""
    rng, promoted = np.random.default_rng(1), 0
    for _ in range(data_sets):
        truth, candidate, champion = pair.sample(rows, rng)
        differences = []
        cells, counts = np.unique(np.stack([truth, candidate, champion]), axis=1, return_counts=True)
        for drawn in rng.multinomial(rows, counts / rows, size=400):
            resampled = np.repeat(cells, drawn, axis=1)
            differences.append(
                f1(resampled[0], resampled[1], pair.classes) - f1(resampled[0], resampled[2], pair.classes)
            )
        promoted += float(np.quantile(differences, 0.025)) >= -margin
    return promoted / data_sets


def within(rate: float, largest: float, data_sets: int) -> bool:
    """Return whether a rate exceeds ``largest`` by no more than 2.6 standard errors of the simulation."""
    return rate <= largest + 2.6 * float(np.sqrt(largest * (1 - largest) / data_sets))


@pytest.mark.parametrize(
    ("classes", "rows", "prevalence", "champion", "margin", "overlap"),
    [
        pytest.param(2, 30, 0.5, 0.995, 0.01, 1.0, id="30 rows"),
        pytest.param(2, 100, 0.5, 0.99, 0.01, 1.0, id="100 rows at F1 0.99"),
        pytest.param(2, 100, 0.05, 0.97, 0.01, 0.5, id="5 positive rows"),
        pytest.param(2, 10, 0.5, 0.97, 0.05, 0.5, id="10 rows"),
        pytest.param(3, 100, 0.01, 0.97, 0.01, 1.0, id="rare class of three"),
    ],
)
def test_a_candidate_worse_by_the_margin_is_seldom_promoted(
    classes: int, rows: int, prevalence: float, champion: float, margin: float, overlap: float
) -> None:
    pair = Pair(classes, prevalence, champion, margin, overlap)
    assert within(promotion_rate(pair, rows, margin, 300), MAX_LEVEL, 300)


def test_an_equal_candidate_is_promoted_as_often_as_by_the_percentile_bootstrap_on_1280_rows() -> None:
    pair = Pair(2, 0.5, 0.8, 0.0, 0.9)
    smoothed, percentile = promotion_rate(pair, 1_280, 0.02, 60), percentile_rate(pair, 1_280, 0.02, 60)
    assert percentile > 0.3
    assert smoothed >= percentile - 0.05


@pytest.mark.parametrize(("prevalence", "champion", "rows"), [(0.5, 0.97, 1_000), (0.05, 0.97, 1_000)])
def test_an_equal_candidate_passes_at_the_detectable_difference_in_80_percent(
    prevalence: float, champion: float, rows: int
) -> None:
    pair, rng = Pair(2, prevalence, champion, 0.0, 0.5), np.random.default_rng(2)
    differences = [f1_difference(*pair.sample(rows, rng), 2) for _ in range(200)]
    margin = np.median([minimum_detectable_difference(difference) for difference in differences])
    assert np.mean([difference.low >= -margin for difference in differences]) == pytest.approx(0.8, abs=0.075)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("rows", [30, 100, 1_000, 10_000])
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_the_table_of_promotion_rates(classes: int, rows: int) -> None:
    """Print the rates, in percent, at a deficit of 0, 1 and 2 margins of 0.01."""
    margin, data_sets, failures = 0.01, 500 if rows < 10_000 else 200, {}
    for prevalence, champion, overlap in product((0.01, 0.05, 0.5), (0.8, 0.97, 0.995), (0.5, 1.0)):
        pairs = [Pair(classes, prevalence, champion, deficit * margin, overlap) for deficit in (0, 1, 2)]
        rates = [promotion_rate(pair, rows, margin, data_sets) for pair in pairs if pair.candidate is not None]
        percent = " / ".join(f"{100 * rate:.1f}" for rate in rates)
        world = f"classes {classes}, rows {rows}, prevalence {prevalence}, champion {champion}, overlap {overlap}"
        print(f"{world}: {percent}")
        if not all(within(rate, MAX_LEVEL, data_sets) for rate in rates[1:]):
            failures[prevalence, champion, overlap] = rates
    assert failures == {}
