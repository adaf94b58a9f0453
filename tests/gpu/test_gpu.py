"""What recipes promise about GPUs, on a GPU (make test-gpu)."""

from pathlib import Path

import pytest
import torch
from benchmarks.gpu import CASES, Case, measure, serving_speed

pytestmark = pytest.mark.gpu
PROMISES = [name for name, case in CASES.items() if case.promised is not None]


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    assert torch.cuda.is_available(), "these tests need a CUDA device"


@pytest.mark.parametrize("name", PROMISES)
def test_a_recipe_trains_in_the_memory_that_it_promises(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    use = measure(case, tmp_path)
    assert use is not None, "out of memory"
    assert case.promised is not None
    assert use.peak_reserved <= case.promised
    assert use.tokens_per_second
    assert use.mfu is None or 0 < use.mfu < 1


def test_8_bit_optimizers_take_less_memory_than_32_bits(tmp_path: Path) -> None:
    peaks = {}
    for optimizer in ("adamw", "adamw_8bit"):
        case = Case("clickbait-bert-base", {"model_type": "bert"}, 16, 256, [f"train.optimizer={optimizer}"])
        (tmp_path / optimizer).mkdir()
        use = measure(case, tmp_path / optimizer)
        assert use
        peaks[optimizer] = use.peak_allocated
    # 110 million weights, whose two moments take 2 bytes instead of 8, without the embeddings, which stay in 32 bits.
    assert peaks["adamw"] - peaks["adamw_8bit"] > 4e8


def test_a_bert_is_served_on_the_gpu(tmp_path: Path) -> None:
    measure(Case("clickbait-bert-base", {"model_type": "bert"}, 32, 256), tmp_path)
    assert "texts/s" in serving_speed(tmp_path)
