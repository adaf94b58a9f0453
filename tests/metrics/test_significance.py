"""Significance tests: p-values have the right false positive rate and equal published and exact results."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.metrics import f1, f1_difference, holm, paired_test, significance

SIMULATIONS = 3_000


@pytest.fixture
def fewer_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute coarser p-values, correct on average, in a fifth of the time."""
    monkeypatch.setattr(significance, "_SHUFFLES", 2_000)


@settings(deadline=None, max_examples=20)
@given(classes=st.integers(2, 3), data=st.data())
def test_the_p_value_equals_the_exact_share_over_all_swaps(classes: int, data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 3), min_size=1, max_size=9))
    truth, first, second = np.array(answers, dtype=np.int64).T
    result = paired_test(truth, first, second, classes)
    if np.array_equal(first, second):
        assert result.p_value == 1
        return
    observed = abs(f1(truth, first, classes) - f1(truth, second, classes))
    share = 0.0
    for bits in range(2 ** len(truth)):
        swap = (bits >> np.arange(len(truth))) & 1 == 1
        ours, theirs = np.where(swap, second, first), np.where(swap, first, second)
        apart = abs(f1(truth, ours, classes) - f1(truth, theirs, classes))
        share += (1.0 if apart > observed + 1e-9 else 0.5 if apart > observed - 1e-9 else 0.0) / 2 ** len(truth)
    assert result.p_value == pytest.approx(share, abs=0.02)


def test_a_clear_difference_is_significant_and_symmetric() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 600)
    good, poor = (np.where(rng.random(600) < share, truth, rng.integers(0, 4, 600)) for share in (0.8, 0.6))
    forward, backward = paired_test(truth, good, poor, 4), paired_test(truth, poor, good, 4)
    assert 0 < forward.p_value < 0.001
    assert forward.p_value == backward.p_value
    assert forward.f1_difference == f1_difference(truth, good, poor, 4)
    assert forward.f1_difference.low > 0 > backward.f1_difference.high
    assert forward == paired_test(truth, good, poor, 4)


def test_holm_equals_published_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_holm_rejects_the_same_hypotheses_as_the_step_down_procedure(p_values: list[float], level: float) -> None:
    rejected = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - step) * p_values[index] > level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= level} == rejected


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
    """Compare equally good systems whose predictions are independent on a share ``apart`` of the rows."""
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
def test_systems_of_equal_f1_but_different_precision_and_recall_differ_significantly_in_4_to_6_percent() -> None:
    """Compare precision 0.9 and recall 0.6 with precision 0.6 and recall 0.9."""
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
