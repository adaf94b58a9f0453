"""Correction of a score for the selection among models judged on the same texts."""

from collections.abc import Callable

import numpy as np
import pytest

from textgate.components.metrics.selection import corrected_for_selection

NOISE = 0.009
"""Standard error of a score on 1,280 texts when retrainings answer 20 % of them differently."""


def corrected(*values: float, noise: float = NOISE) -> float:
    return corrected_for_selection(np.array(values), np.full(len(values), noise))


def champions(weeks: int, seed: int, true_score: Callable[[int, np.random.Generator], float]) -> np.ndarray:
    """Return plain and corrected score of the weekly champion minus its true score, means over the weeks.

    A model becomes champion if it is not worse than the champion by more than 0.02 with 97.5 % confidence.
    """
    rng = np.random.default_rng(seed)
    values, errors, champion = [], [], 0.0
    for week in range(weeks):
        true = true_score(week, rng)
        values.append(true + NOISE * rng.normal())
        if values[-1] - champion >= 1.96 * np.sqrt(2) * NOISE - 0.02:
            champion = values[-1]
            error = np.array([champion, corrected(*values)]) - true
        errors.append(error)
    return np.mean(errors, axis=0)


@pytest.mark.parametrize(
    "true_score",
    [
        pytest.param(lambda week, rng: 0.8, id="equal models"),
        pytest.param(lambda week, rng: 0.8 + 0.01 * rng.normal(), id="models differ"),
        pytest.param(lambda week, rng: 0.8 + 0.0002 * week, id="models get better"),
    ],
)
def test_the_corrected_score_of_200_weekly_champions_is_not_inflated(
    true_score: Callable[[int, np.random.Generator], float],
) -> None:
    plain, unbiased = np.mean([champions(200, seed, true_score) for seed in range(40)], axis=0)
    assert plain > 0.01
    assert abs(unbiased) < 0.005


def test_a_single_score_is_not_changed() -> None:
    assert corrected(0.8123) == 0.8123


def test_scores_that_chance_explains_are_moved_to_their_mean() -> None:
    values = 0.8 + NOISE * np.random.default_rng(0).normal(size=50)
    assert corrected(*values, 0.82) == pytest.approx(values.mean(), abs=0.002)


def test_a_real_improvement_stays_visible() -> None:
    values = 0.8 + NOISE * np.random.default_rng(0).normal(size=50)
    assert corrected(*values, 0.85) == pytest.approx(0.85, abs=0.002)
    assert corrected(0.8, 0.85) == pytest.approx(0.85, abs=0.005)


def test_scores_on_few_texts_count_little() -> None:
    values, errors = np.array([0.9] * 5 + [0.8] * 2), np.array([0.1] * 5 + [NOISE] * 2)
    assert corrected_for_selection(values, errors) == pytest.approx(0.8, abs=0.005)


def test_scores_all_equal_stay_as_they_are() -> None:
    assert corrected(*[0.8] * 10, noise=0.0004) == pytest.approx(0.8)
