"""Sketches of text keys estimate which share of the present texts another split had."""

import numpy as np
import pytest

from textgate.components.contracts.key_sketch import SKETCH_KEYS, key_sketch, share_in_sketch

KEYS = np.random.default_rng(7).integers(0, 2**64, 20_000, dtype=np.uint64)


def test_a_sketch_is_small_and_does_not_depend_on_order_or_repetitions() -> None:
    sketch = key_sketch(KEYS)
    assert len(sketch) == SKETCH_KEYS
    assert sketch == sorted(sketch) == key_sketch(np.concatenate([KEYS[::-1], KEYS]))
    assert {len(key) for key in sketch} == {16}


@pytest.mark.parametrize(
    ("present", "other", "share"),
    [
        pytest.param(KEYS[:5_000], KEYS[:5_000], 1.0, id="the same texts"),
        pytest.param(KEYS[:10_000], KEYS[:5_000], 0.5, id="grown"),
        pytest.param(KEYS[:5_000], KEYS[:20_000], 1.0, id="shrunk"),
        pytest.param(KEYS[1_000:6_000], KEYS[:5_000], 0.8, id="slid"),
        pytest.param(KEYS[5_000:6_000], KEYS[:5_000], 0.0, id="other texts"),
        pytest.param(KEYS[:300], KEYS[:100], 1 / 3, id="other texts fit into the sketch"),
    ],
)
def test_the_share_of_the_present_texts_is_estimated(present: np.ndarray, other: np.ndarray, share: float) -> None:
    assert share_in_sketch(present, key_sketch(other)) == pytest.approx(share, abs=0.08)


def test_the_share_is_exact_where_the_sketch_has_all_texts() -> None:
    assert share_in_sketch(KEYS[:300], key_sketch(KEYS[:100])) == pytest.approx(1 / 3)
    assert share_in_sketch(KEYS[:0], key_sketch(KEYS)) == 0.0
