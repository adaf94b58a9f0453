"""Memory, utilization and throughput of the GPUs of a training. Without a GPU, PyTorch's memory counters are fakes."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification

from textgate.components.contracts import Adapter, Dataset, LinearTraining, TransformerTraining
from textgate.components.contracts.training_cost import AcceleratorUse, TrainingCost, read_training_cost
from textgate.components.families import TrainingContext, accelerator_meter
from textgate.components.families.accelerator_meter import PEAK_FLOPS, AcceleratorMeter, Work
from textgate.components.families.transformer.model.adapters import add_adapter
from textgate.components.families.transformer.training.throughput import model_flops
from textgate.components.families.transformer.training.trainer import LengthGroupedTrainer
from textgate.components.train.launch import TrainingJob, run
from textgate.components.train.train import train_bundle

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory counters of an H100. The training itself runs on the CPU."""
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 6_000_000_000)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 7_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: H100)
    monkeypatch.setattr(torch.cuda, "utilization", lambda: 90)
    # The package nvidia-ml-py, which torch.cuda.utilization imports.
    monkeypatch.setitem(sys.modules, "pynvml", types.SimpleNamespace(NVMLError=OSError))  # type: ignore[arg-type]
    monkeypatch.setattr(accelerator_meter, "_SAMPLE_SECONDS", 0)
    monkeypatch.setattr(AcceleratorMeter, "for_training", classmethod(lambda cls, _: cls()))


def training(base_model: Path, **changes: Any) -> TransformerTraining:
    settings = {"max_tokens": 32, "epochs": 2, "batch_size": 8, "learning_rate": 2e-3, "precision": "fp32", **changes}
    return TransformerTraining(family="transformer", base_model=str(base_model), **settings)


@pytest.mark.usefixtures("gpu")
def test_the_tokens_of_every_update_after_the_first_are_counted_without_padding(
    tiny: Callable[[str], Path],
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks: list[torch.Tensor] = []
    compute_loss = LengthGroupedTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *arguments: Any, **others: Any) -> Any:
        if model.training:
            masks.append(inputs["attention_mask"])
        return compute_loss(self, model, inputs, *arguments, **others)

    monkeypatch.setattr(LengthGroupedTrainer, "compute_loss", spy)
    meter = AcceleratorMeter()
    settings = training(tiny("bert"), micro_batch_size=4)
    train_bundle(dataset.path, "tiny", settings, tmp_path / "bundle", TrainingContext(tiny("bert"), meter=meter))
    timed = masks[2:]
    tokens = sum(int(mask.sum()) for mask in timed)
    assert tokens < sum(mask.numel() for mask in timed), "without padding the test proves nothing"
    assert meter.work is not None
    assert (meter.work.tokens, meter.work.texts) == (tokens, sum(len(mask) for mask in timed))
    assert meter.work.seconds > 0
    assert meter.work.flops is None, "fp32 has another peak than the table"
    use = meter.use()
    assert use.tokens_per_second == pytest.approx(tokens / meter.work.seconds)
    assert (use.name, use.peak_allocated, use.utilization, use.mfu) == (H100, 6_000_000_000, 0.9, None)


@pytest.mark.usefixtures("gpu")
def test_a_training_of_one_update_has_no_throughput(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    meter = AcceleratorMeter()
    rows = len(dataset.columns("train")[1])
    settings = training(tiny("bert"), epochs=1, batch_size=rows)
    train_bundle(dataset.path, "tiny", settings, tmp_path / "bundle", TrainingContext(tiny("bert"), meter=meter))
    assert meter.work is None
    use = meter.use()
    assert (use.peak_reserved, use.tokens_per_second, use.mfu) == (7_000_000_000, None, None)
    assert use.message == "7.0 GB of GPU memory, 90% busy"


@pytest.mark.parametrize("adapter", [None, Adapter(r=2, alpha=4)])
def test_the_model_flops_are_those_that_torch_counts(
    adapter: Adapter | None, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    # Eager attention, because torch counts a fused backward pass with its recomputation.
    model: Any = AutoModelForSequenceClassification.from_pretrained(tiny("llama"), attn_implementation="eager")
    if adapter:
        model = add_adapter(model, adapter, ("q_proj", "v_proj"), ("score",), "tiny", tmp_path)
        model.enable_input_require_grads()
    tokens = 64
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.ones(1, tokens, dtype=torch.int64)).logits.sum().backward()
    flops = model_flops(model)
    expected = flops.per_token * tokens + flops.attention * tokens**2
    assert expected == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert flops.attention * tokens**2 > 0.1 * expected, "attention must be large enough to be tested"


def test_quantized_weights_count_like_full_ones(tiny: Callable[[str], Path]) -> None:
    from textgate.components.families.transformer.model.adapters import nf4_config

    quantized: Any = AutoModelForSequenceClassification.from_pretrained(
        tiny("llama"), quantization_config=nf4_config(("score",), torch.float32)
    )
    full = AutoModelForSequenceClassification.from_pretrained(tiny("llama"))
    full.model.requires_grad_(False)
    assert model_flops(quantized) == model_flops(full)


@pytest.mark.usefixtures("gpu")
def test_the_processes_of_a_training_are_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = PEAK_FLOPS[H100]
    others = [((9_000_000_000, 9_500_000_000), [0.5], Work(300, 3, peak, 4.0))]
    monkeypatch.setattr(accelerator_meter, "all_gather", lambda value: [value, *others])
    meter = AcceleratorMeter()
    monkeypatch.setattr(torch.cuda, "utilization", lambda: 100)
    meter.sample()
    meter.work = Work(100, 1, peak, 2.0)
    assert meter.use() == AcceleratorUse(
        name=H100,
        peak_allocated=9_000_000_000,
        peak_reserved=9_500_000_000,
        utilization=0.75,
        tokens_per_second=100,
        texts_per_second=1,
        mfu=0.25,
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: f"{H100} MIG 1g.10gb")
    assert meter.use().mfu is None
    assert meter.use().tokens_per_second == 100


def test_utilization_is_unknown_without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(accelerator_meter, "_SAMPLE_SECONDS", 0)
    meter = AcceleratorMeter()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter.sample()
    monkeypatch.setitem(sys.modules, "pynvml", types.SimpleNamespace(NVMLError=OSError))  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "utilization", lambda: exec("raise OSError('not supported by a partition')"))
    meter.sample()
    assert meter._utilization == []


@pytest.mark.usefixtures("gpu", "no_store")
def test_the_use_is_part_of_the_cost_of_the_training(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    job = TrainingJob(
        dataset.path, "films", training(tiny("bert")), "code", "no-bucket", tmp_path / "trained", tmp_path / "logs"
    )
    run(job)
    cost = read_training_cost(tmp_path / "trained")
    assert cost is not None
    assert cost.accelerator_use is not None
    assert cost.accelerator_use.peak_reserved == 7_000_000_000
    assert cost.accelerator_use.tokens_per_second is not None


@pytest.mark.usefixtures("no_store")
def test_without_a_gpu_there_are_no_figures_of_one(dataset: Dataset, tmp_path: Path) -> None:
    linear = LinearTraining(family="linear", min_df=1)
    run(TrainingJob(dataset.path, "films", linear, "code", "no-bucket", tmp_path / "trained", tmp_path / "logs"))
    cost = read_training_cost(tmp_path / "trained")
    assert cost is not None
    assert cost.accelerator_use is None
    assert not torch.cuda.is_available()
    assert AcceleratorMeter.for_training(training(Path("tiny"))) is None
    earlier = '{"seconds": 1, "peak_memory": 2, "accelerators": 1}'
    assert TrainingCost.model_validate_json(earlier).accelerator_use is None
