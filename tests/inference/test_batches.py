"""Batches of the ONNX predictor: their total cost is the minimum over all ways to cut the sorted texts."""

from collections.abc import Sequence
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.inference.onnx import _RUN_OVERHEAD, _TOKENS_PER_BATCH, _batches

BUDGET = _TOKENS_PER_BATCH["cpu"]

LENGTHS = st.lists(st.one_of(st.integers(1, 40), st.integers(1, 600)), max_size=9)


def cost(batches: Sequence[Sequence[int]]) -> float:
    """Return padded tokens plus the overhead of each batch of lengths; infinity if a batch exceeds the budget."""
    padded = [len(batch) * max(batch) for batch in batches]
    if any(len(batch) > 1 and size > BUDGET for batch, size in zip(batches, padded, strict=True)):
        return float("inf")
    return sum(padded) + len(batches) * _RUN_OVERHEAD


@settings(deadline=None, max_examples=200)
@given(LENGTHS)
def test_no_other_cuts_cost_less(lengths: list[int]) -> None:
    batches = [rows.tolist() for rows in _batches(lengths, BUDGET)]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    ordered = sorted(lengths)
    ways = [
        [ordered[start:end] for start, end in pairwise([0, *cuts, len(ordered)])]
        for count in range(len(ordered))
        for cuts in combinations(range(1, len(ordered)), count)
    ]
    assert cost([[lengths[row] for row in batch] for batch in batches]) == min(map(cost, ways), default=0)
