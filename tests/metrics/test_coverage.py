"""Coverage of the 95 % intervals of every metric, for few rows, rare classes and rare errors."""

from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from simulated_models import Classifier

from textgate.components.metrics import METRICS, estimates

MAX_MISSES = 0.08
"""Largest share of data sets whose interval misses the true value."""


def coverage(classifier: Classifier, rows: int, data_sets: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return, for each metric, the share of data sets with an interval, and of those with one that misses."""
    rng = np.random.default_rng(seed)
    shown: dict[str, int] = defaultdict(int)
    missed: dict[str, int] = defaultdict(int)
    for _ in range(data_sets):
        for name, estimate in estimates(*classifier.sample(rows, rng)).items():
            if estimate.withheld is None:
                shown[name] += 1
                missed[name] += not estimate.low - 1e-9 <= classifier.true_scores[name] <= estimate.high + 1e-9
    return {name: (shown[name] / data_sets, missed[name] / data_sets) for name in METRICS}


def too_many_misses(result: dict[str, tuple[float, float]], data_sets: int) -> dict[str, float]:
    """Return the metrics with more misses than allowed by more than 2.6 standard errors of the simulation."""
    tolerance = 2.6 * float(np.sqrt(MAX_MISSES * (1 - MAX_MISSES) / data_sets))
    return {name: missed for name, (_, missed) in result.items() if missed > MAX_MISSES + tolerance}


@pytest.mark.parametrize(
    ("classes", "rows", "prevalence", "accuracy"),
    [
        pytest.param(2, 30, 0.5, 0.995, id="30 rows with rare errors"),
        pytest.param(2, 100, 0.05, 0.8, id="5 positive rows"),
        pytest.param(3, 100, 0.01, 0.995, id="rare class and rare errors"),
        pytest.param(2, 1000, 0.01, 0.97, id="10 positive rows"),
    ],
)
def test_intervals_cover_or_are_withheld(classes: int, rows: int, prevalence: float, accuracy: float) -> None:
    result = coverage(Classifier(classes, prevalence, accuracy), rows, 120)
    assert result["accuracy"][0] == 1
    assert too_many_misses(result, 120) == {}


def test_a_shown_matthews_correlation_of_few_positive_rows_covers() -> None:
    shown, missed = coverage(Classifier(2, 0.01, 0.8), 100, 300)["mcc"]
    assert 0.15 < shown < 0.4
    assert missed <= 0.08 * shown + 0.03


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("rows", [30, 100, 1_000, 10_000])
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_the_table_of_coverage(classes: int, rows: int) -> None:
    """Print coverage of the shown intervals and share of data sets with one, in percent."""
    data_sets = 1_000 if rows < 10_000 else 300
    failures = {}
    for prevalence, accuracy in product((0.01, 0.05, 0.5), (0.8, 0.97, 0.995)):
        result = coverage(Classifier(classes, prevalence, accuracy), rows, data_sets)
        cells = (
            f"{name} {100 * (1 - missed / shown):.1f} ({100 * shown:.0f})" if shown else f"{name} withheld"
            for name, (shown, missed) in result.items()
        )
        print(f"classes {classes}, rows {rows}, prevalence {prevalence}, accuracy {accuracy}: {', '.join(cells)}")
        if bad := too_many_misses(result, data_sets):
            failures[prevalence, accuracy] = bad
    assert failures == {}
