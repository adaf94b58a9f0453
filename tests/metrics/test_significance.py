"""Whether two systems differ: p-values that hold their level, and what the published tests say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from textgate.components.metrics import f1, f1_difference, holm, paired_test, significance

SIMULATIONS = 3_000


@pytest.fixture
def fewer_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarser p-values, as good on average, in a fifth of the time."""
    monkeypatch.setattr(significance, "_SHUFFLES", 2_000)


def rows(*counted: tuple[tuple[int, int, int], int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and the answers of two systems, each (truth, first, second) so many times."""
    truth, first, second = np.repeat([row for row, _ in counted], [count for _, count in counted], axis=0).T
    return truth, first, second


def test_mcnemar_is_the_published_mid_p_value() -> None:
    # Fagerland, Lydersen and Laake, table 1: 1 and 7 of 21 children differ, the mid-p value is 0.039.
    truth, first, second = rows(((1, 1, 1), 1), ((1, 1, 0), 1), ((1, 0, 1), 7), ((1, 0, 0), 12))
    found = paired_test(truth, first, second, 2)
    assert (found.only_first, found.only_second) == (1, 7)
    assert found.mcnemar == pytest.approx(0.0390625, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(only_first=st.integers(0, 30), only_second=st.integers(0, 30), both=st.integers(1, 50))
def test_mcnemar_is_half_way_between_the_exact_p_values(only_first: int, only_second: int, both: int) -> None:
    truth, first, second = rows(((0, 0, 1), only_first), ((0, 1, 0), only_second), ((1, 1, 1), both))
    fewer, disputed = min(only_first, only_second), only_first + only_second
    as_far, further = (2 * binom.cdf(number, disputed, 0.5) for number in (fewer, fewer - 1))
    middle = 1 - binom.pmf(fewer, disputed, 0.5) / 2 if only_first == only_second else (as_far + further) / 2
    assert paired_test(truth, first, second, 2).mcnemar == pytest.approx(middle if disputed else 1, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(classes=st.integers(2, 3), data=st.data())
def test_the_p_value_is_the_share_of_swaps_that_part_the_systems_as_far(classes: int, data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 3), min_size=1, max_size=9))
    truth, first, second = np.array(answers, dtype=np.int64).T
    found = paired_test(truth, first, second, classes)
    if np.array_equal(first, second):
        assert found.p_value == 1
        return
    seen = abs(f1(truth, first, classes) - f1(truth, second, classes))
    share = 0.0
    for number in range(2 ** len(truth)):
        swap = (number >> np.arange(len(truth))) & 1 == 1
        ours, theirs = np.where(swap, second, first), np.where(swap, first, second)
        apart = abs(f1(truth, ours, classes) - f1(truth, theirs, classes))
        share += (1.0 if apart > seen + 1e-9 else 0.5 if apart > seen - 1e-9 else 0.0) / 2 ** len(truth)
    assert found.p_value == pytest.approx(share, abs=0.02)


def test_a_clear_difference_is_significant_and_turned_round_the_same() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 600)
    good, poor = (np.where(rng.random(600) < share, truth, rng.integers(0, 4, 600)) for share in (0.8, 0.6))
    there, back = paired_test(truth, good, poor, 4), paired_test(truth, poor, good, 4)
    assert 0 < there.p_value < 0.001
    assert there.p_value == back.p_value
    assert there.mcnemar == back.mcnemar < 0.001
    assert there.f1_difference == f1_difference(truth, good, poor, 4)
    assert there.f1_difference.low > 0 > back.f1_difference.high
    assert (there.only_first, there.only_second) == (back.only_second, back.only_first)
    assert there == paired_test(truth, good, poor, 4)


def test_holm_is_the_published_procedure() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_holm_keeps_what_stepping_down_keeps(p_values: list[float], level: float) -> None:
    kept = set()
    for step, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - step) * p_values[number] > level:
            break
        kept.add(number)
    assert {number for number, p in enumerate(holm(p_values)) if p <= level} == kept


@pytest.mark.usefixtures("fewer_shuffles")
@pytest.mark.parametrize(
    ("size", "prior", "right", "apart"),
    [
        pytest.param(1_000, (0.7, 0.3), 0.85, 0.1, marks=pytest.mark.slow, id="two classes"),
        pytest.param(200, (0.5, 0.5), 0.8, 0.1, marks=pytest.mark.long, id="few rows"),
        pytest.param(300, (0.5, 0.3, 0.2), 0.75, 0.2, marks=pytest.mark.long, id="three classes"),
    ],
)
def test_equal_systems_differ_significantly_in_4_to_6_percent(
    size: int, prior: tuple[float, ...], right: float, apart: float
) -> None:
    """Two systems as good as each other, that answer ``apart`` of the rows independently of one another."""
    rng = np.random.default_rng(0)
    classes = len(prior)

    def answers(truth: np.ndarray) -> np.ndarray:
        return np.where(rng.random(size) < right, truth, (truth + rng.integers(1, classes, size)) % classes)

    significant = 0
    for _ in range(SIMULATIONS):
        truth = rng.choice(classes, size=size, p=prior)
        shared = answers(truth)
        first, second = (np.where(rng.random(size) < apart, answers(truth), shared) for _ in range(2))
        significant += paired_test(truth, first, second, classes).p_value <= 0.05
    assert 0.04 <= significant / SIMULATIONS <= 0.06


@pytest.mark.long
@pytest.mark.usefixtures("fewer_shuffles")
def test_a_precise_and_a_thorough_system_of_equal_f1_differ_significantly_in_4_to_6_percent() -> None:
    """Precision 0.9 and recall 0.6 against precision 0.6 and recall 0.9: unlike in everything but F1."""
    rng = np.random.default_rng(0)
    size, share = 600, 0.3
    significant = 0
    for _ in range(SIMULATIONS):
        truth = (rng.random(size) < share).astype(np.int64)
        first, second = (
            (rng.random(size) < np.where(truth, recall, recall * (1 - precision) / precision * share / (1 - share)))
            for recall, precision in ((0.6, 0.9), (0.9, 0.6))
        )
        significant += paired_test(truth, first.astype(np.int64), second.astype(np.int64), 2).p_value <= 0.05
    assert 0.04 <= significant / SIMULATIONS <= 0.06
