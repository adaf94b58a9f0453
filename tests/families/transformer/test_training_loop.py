"""Training loop: batches, loss, evaluation during training and precision."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from transformers import DataCollatorWithPadding

from textgate.components.contracts import Dataset, Row, TextNormalizer, TransformerTraining, dataset_writer
from textgate.components.families import TrainingContext
from textgate.components.families.transformer.model import precision
from textgate.components.families.transformer.training import loop
from textgate.components.families.transformer.training.loss import build_loss
from textgate.components.families.transformer.training.trainer import LengthGroupedTrainer
from textgate.components.train.train import train_bundle

TINY: dict[str, Any] = {"family": "transformer", "base_model": "tiny", "max_tokens": 16, "batch_size": 8}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with random labels, so that F1 fluctuates."""
    path = tmp_path_factory.mktemp("noisy") / "dataset"
    rng = np.random.default_rng(13)
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in range(90):
            split = ["train", "validation", "test"][index % 3]
            text = " ".join(f"word{word}" for word in rng.integers(0, 40, 5))
            writer.add(split, Row(str(index), text, ["bad", "good"][rng.integers(2)]))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer())
    return path


def validation_scores(output: str) -> list[float]:
    """Return the F1 scores that a training printed."""
    return [float(f1) for f1 in re.findall(r"^epoch .*validation F1 ([\d.]+)$", output, re.MULTILINE)]


def test_the_weights_of_the_best_validation_f1_are_kept(
    noisy: Path, tiny: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = TransformerTraining(**TINY, epochs=6, learning_rate=3e-3)
    bundle = train_bundle(noisy, "x", training, tmp_path / "bundle", TrainingContext(tiny("bert")))
    scores = validation_scores(capsys.readouterr().out)
    assert len(scores) == 6
    assert max(scores) > scores[-1], "the last must not be the best, or the test proves nothing"
    assert bundle.metrics["validation_f1"] == pytest.approx(max(scores), abs=1e-4)
    # 4 updates an epoch; the loss is logged every 10 updates, before an evaluation and at the end.
    assert {key for entry in bundle.history for key in entry} == {"epoch", "loss", "validation_f1"}
    f1_scores = {entry["epoch"]: entry["validation_f1"] for entry in bundle.history if "validation_f1" in entry}
    assert f1_scores == pytest.approx(dict(zip(range(1, 7), scores, strict=True)), abs=1e-4)
    losses = {entry["epoch"]: entry["loss"] for entry in bundle.history if "loss" in entry}
    assert list(losses) == [1, 2, 2.5, 3, 4, 5, 6]
    weights = np.diff([0, *losses])
    assert bundle.metrics["train_loss"] == pytest.approx(np.average(list(losses.values()), weights=weights), abs=1e-5)


def test_without_evaluations_the_history_ends_with_the_final_f1(
    noisy: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    training = TransformerTraining(**TINY, epochs=0.5, learning_rate=3e-3)
    bundle = train_bundle(noisy, "x", training, tmp_path / "bundle", TrainingContext(tiny("bert")))
    loss, last = bundle.history
    assert loss == {"epoch": 0.5, "loss": pytest.approx(bundle.metrics["train_loss"], abs=1e-6)}
    assert last == {"epoch": 0.5, "validation_f1": pytest.approx(bundle.metrics["validation_f1"], abs=1e-6)}


def test_training_stops_early_when_f1_does_not_improve(
    noisy: Path, tiny: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = TransformerTraining(**TINY, epochs=9, learning_rate=1e-9, early_stopping=2, evaluate_every=0.5)
    train_bundle(noisy, "x", training, tmp_path / "bundle", TrainingContext(tiny("bert")))
    assert len(validation_scores(capsys.readouterr().out)) == 3


def test_gradient_accumulation_trains_like_one_large_batch(
    dataset: Dataset, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    losses = []
    for micro_batch_size in (8, 2):
        training = TransformerTraining(
            **TINY, epochs=1, learning_rate=1e-3, micro_batch_size=micro_batch_size, class_weights="balanced"
        )
        bundle = train_bundle(
            dataset.path, "x", training, tmp_path / str(micro_batch_size), TrainingContext(tiny("llama"))
        )
        losses.append(bundle.metrics["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_probed_batch_size_does_not_change_the_result(
    dataset: Dataset, tiny: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = TransformerTraining(**TINY, epochs=0.5)
    plain = train_bundle(dataset.path, "x", training, tmp_path / "1", TrainingContext(tiny("bert")))
    auto = training.model_copy(update={"micro_batch_size": "auto"})
    probed = train_bundle(dataset.path, "x", auto, tmp_path / "2", TrainingContext(tiny("bert")))
    assert re.search(
        r"a text of 1\d tokens takes [\d.]+ MiB to train on, [\d.]+ GiB are free: 8 at once", capsys.readouterr().out
    )
    assert probed.files == plain.files


def test_batches_padded_by_other_processes_train_to_the_same_bytes(
    noisy: Path, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = set()
    pad = DataCollatorWithPadding.__call__

    def spy(self: DataCollatorWithPadding, features: Any) -> Any:
        batch = pad(self, features)
        if "labels" in batch:  # of the Trainer, not of the predictor
            batch["process"] = torch.tensor([os.getpid()] * len(features))
        return batch

    compute_loss = LengthGroupedTrainer.compute_loss

    def compute(self: Any, model: Any, inputs: Any, *arguments: Any, **others: Any) -> Any:
        processes.add(int(inputs.pop("process")[0]))
        return compute_loss(self, model, inputs, *arguments, **others)

    monkeypatch.setattr(DataCollatorWithPadding, "__call__", spy)
    monkeypatch.setattr(LengthGroupedTrainer, "compute_loss", compute)
    training, results = TransformerTraining(**TINY, epochs=2, micro_batch_size=4), []
    for workers in (0, 2):
        processes.clear()
        monkeypatch.setattr(loop, "_loader_workers", lambda workers=workers: workers)
        context = TrainingContext(tiny("bert"))
        results.append(train_bundle(noisy, "x", training, tmp_path / str(workers), context))
        assert len(processes - {os.getpid()}) >= workers
        assert (os.getpid() in processes) == (workers == 0)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("cuda", "cores", "processes", "expected"), [(False, 16, 1, 0), (True, 16, 1, 4), (True, 8, 4, 2), (True, 1, 2, 0)]
)
def test_a_gpu_gets_workers_and_a_cpu_does_not(
    cuda: bool, cores: int, processes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert loop._loader_workers() == expected


def test_the_probed_batch_is_smaller_when_little_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    from textgate.components.families.transformer.training import batch_size

    class Model(torch.nn.Linear):
        def forward(self, input_ids: torch.Tensor) -> Any:  # type: ignore[override]
            return type("Output", (), {"logits": super().forward(input_ids.float().exp())})

    model = Model(2_000_000, 2)
    batch = {"input_ids": torch.ones(1, 2_000_000), "labels": torch.tensor([0])}
    per_row = 3 * 8e6
    freed_arrays = [np.ones(2**14) for _ in range(4_000)]
    last = np.ones(2**14)
    del freed_arrays
    monkeypatch.setattr(batch_size, "_free_bytes", lambda: 12 * 4_000_002 + 10 * per_row)
    result = batch_size.probe_batch_size(model, batch, 64, state_bytes=8)
    assert 2 <= result <= 16
    assert last.any()
    assert all(weight.grad is None for weight in model.parameters())


@settings(deadline=None, max_examples=40)
@given(
    classes=st.lists(st.integers(0, 2), min_size=6, max_size=30).filter(lambda classes: set(classes) == {0, 1, 2}),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_the_loss_equals_torchs_with_scikit_learns_class_weights(classes: list[int], smoothing: float) -> None:
    training = TransformerTraining(**TINY, class_weights="balanced", label_smoothing=smoothing)
    target, logits = torch.tensor(classes), torch.randn(len(classes), 3, generator=torch.manual_seed(0))
    weights = compute_class_weight("balanced", classes=np.arange(3), y=classes)
    expected = torch.nn.CrossEntropyLoss(
        torch.tensor(weights, dtype=torch.float32), reduction="sum", label_smoothing=smoothing
    )(logits, target)
    loss = build_loss(training, classes, 3)
    full_batch = loss({"logits": logits}, target, len(classes))
    halves = [loss({"logits": logits[part]}, target[part], len(classes)) for part in (slice(0, 3), slice(3, None))]
    torch.testing.assert_close(full_batch, expected / len(classes))
    torch.testing.assert_close(sum(halves), full_batch)


@pytest.mark.parametrize(
    ("setting", "bf16", "expected"),
    [
        ("auto", True, "bf16"),
        ("auto", False, "fp32"),
        ("fp32", True, "fp32"),
        ("bf16", False, "fp32"),
        ("fp16", False, "fp32"),
        ("fp16", True, "bf16"),
    ],
)
def test_a_cpu_computes_in_a_precision_that_it_supports_natively(
    setting: str, bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert precision.resolve_precision(setting) == expected
