"""Distillation: a student learns from the labels and from a teacher's probabilities."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from textgate.components.contracts import (
    Adapter,
    Dataset,
    Distillation,
    InputError,
    LinearTraining,
    Row,
    TextNormalizer,
    TransformerTraining,
    dataset_writer,
)
from textgate.components.contracts.bundle import Calibration, ModelBundle
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.families import TrainingContext
from textgate.components.families.transformer.training.distillation import teacher_probabilities
from textgate.components.families.transformer.training.loss import build_loss
from textgate.components.inference import load_bundle
from textgate.components.train.train import train_bundle

TINY: dict[str, Any] = {"family": "transformer", "base_model": "tiny", "max_tokens": 16, "batch_size": 8}


def distilled(weight: float, **changes: Any) -> TransformerTraining:
    distillation = Distillation(teacher="teacher@1", weight=weight, temperature=2)
    return TransformerTraining(**{**TINY, "epochs": 3, "learning_rate": 3e-3, **changes}, distillation=distillation)


@pytest.fixture(scope="module")
def teacher(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "bundle"
    train_bundle(dataset.path, "teacher", LinearTraining(family="linear", min_df=1), folder, TrainingContext())
    return folder


@pytest.fixture(scope="module")
def mislabelled(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``dataset`` with the wrong label for every training text."""
    path = tmp_path_factory.mktemp("mislabelled") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for split in ("train", "validation", "test"):
            for row in dataset.rows(split):
                wrong = {"good": "bad", "bad": "good"}[row.label]
                writer.add(split, Row(row.id, row.text, wrong if split == "train" else row.label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer(lowercase=True))
    return path


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    weight=st.floats(0.05, 1),
    temperature=st.floats(0.5, 8),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_the_loss_is_the_weighted_sum_of_cross_entropy_and_divergence(
    seed: int, weight: float, temperature: float, smoothing: float
) -> None:
    rng = np.random.default_rng(seed)
    logits, soft = rng.normal(scale=3, size=(6, 3)), softmax(rng.normal(size=(6, 3)), axis=1)
    classes = rng.integers(0, 3, 6)
    distillation = Distillation(teacher="teacher@1", weight=weight, temperature=temperature)
    training = TransformerTraining(**TINY, label_smoothing=smoothing, distillation=distillation)
    hard = np.full((6, 3), smoothing / 3) + np.eye(3)[classes] * (1 - smoothing)
    cross_entropy = -(hard * np.log(softmax(logits, axis=1))).sum()
    divergence = (soft * (np.log(soft) - np.log(softmax(logits / temperature, axis=1)))).sum()
    expected = ((1 - weight) * cross_entropy + weight * temperature**2 * divergence) / 6

    loss = build_loss(training, classes.tolist(), 3)
    outputs, target, probabilities = (
        torch.tensor(logits),
        torch.tensor(classes),
        torch.tensor(soft, dtype=torch.float32),
    )
    full_batch = loss({"logits": outputs}, target, 6, probabilities)
    parts = [
        loss({"logits": outputs[part]}, target[part], 6, probabilities[part]) for part in (slice(0, 2), slice(2, None))
    ]
    assert float(full_batch) == pytest.approx(expected, rel=1e-4)
    assert float(sum(parts)) == pytest.approx(expected, rel=1e-4)
    plain = build_loss(training.model_copy(update={"distillation": None}), classes.tolist(), 3)
    assert float(loss({"logits": outputs}, target, 6)) == float(plain({"logits": outputs}, target, 6))


def test_the_distillation_temperature_applies_on_top_of_the_teachers_calibration(
    dataset: Dataset, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, texts, _ = dataset.columns("train")
    plain = load_bundle(teacher).predict_proba(texts)
    bundle = ModelBundle.load(teacher)
    for file in bundle.files:
        (tmp_path / file).write_bytes((teacher / file).read_bytes())
    bundle.model_copy(update={"calibration": Calibration(temperature=1.5)}).write(tmp_path)
    distillation = Distillation(teacher="teacher@1", temperature=3)
    probabilities = teacher_probabilities(dataset, distillation, {"teacher@1": tmp_path})
    np.testing.assert_allclose(probabilities, apply_temperature(plain, 4.5), atol=1e-12)
    assert "asking the teacher teacher, 144 of 144 texts" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"micro_batch_size": 2}, {"micro_batch_size": "auto"}, {"adapter": Adapter(r=4)}])
def test_with_full_weight_a_student_learns_from_the_teacher_and_not_from_the_labels(
    changes: dict[str, Any], mislabelled: Path, teacher: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    learning_rate = 2e-2 if "adapter" in changes else 3e-3
    training = distilled(1.0, learning_rate=learning_rate, **changes)
    context = TrainingContext(tiny("bert"), bundles={"teacher@1": teacher})
    student = train_bundle(mislabelled, "student", training, tmp_path / "student", context)
    assert student.metrics["validation_f1"] > 0.9


def test_without_a_teacher_the_student_learns_from_the_labels(
    mislabelled: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    training = distilled(1.0).model_copy(update={"distillation": None})
    student = train_bundle(mislabelled, "student", training, tmp_path / "student", TrainingContext(tiny("bert")))
    assert student.metrics["validation_f1"] < 0.1


def test_a_teacher_with_other_labels_is_rejected(
    teacher: Path, dataset: Dataset, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for split in ("train", "validation", "test"):
            for number, row in enumerate(dataset.rows(split)):
                writer.add(split, Row(row.id, row.text, ["calm", "happy", "sad"][number % 3]))
        writer.finish("made up", ["calm", "happy", "sad"], normalizer=TextNormalizer())
    context = TrainingContext(tiny("bert"), bundles={"teacher@1": teacher})
    with pytest.raises(
        InputError, match="teacher@1 answers bad, good, but the dataset has the labels calm, happy, sad"
    ):
        train_bundle(path, "student", distilled(0.5), tmp_path / "student", context)
    assert not (tmp_path / "student").exists()


def test_a_teacher_without_its_base_model_is_rejected(
    dataset: Dataset, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    training = TransformerTraining(**TINY, epochs=0.2, adapter=Adapter(r=2, quantization="none"))
    train_bundle(dataset.path, "adapter", training, tmp_path / "adapter", TrainingContext(tiny("bert")))
    context = TrainingContext(tiny("bert"), bundles={"teacher@1": tmp_path / "adapter"})
    with pytest.raises(InputError, match="teacher@1 is an adapter or head without its base tiny"):
        train_bundle(dataset.path, "student", distilled(0.5), tmp_path / "student", context)
