"""A served bundle carries its calibration, and every predictor applies it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from textgate.components.contracts import (
    Dataset,
    Export,
    InputError,
    LinearTraining,
    ModelBundle,
    Row,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.train.train import train_bundle


def write(path: Path, labels: list[str], rows: int) -> Path:
    """Write a dataset in which the informative word names a wrong label in about a quarter of the texts."""
    rng = random.Random(13)
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in range(rows):
            label = labels[0] if rng.random() < 0.7 else rng.choice(labels[1:])
            label_word = label if rng.random() < 0.75 else rng.choice(labels)
            split = ["train", "validation", "test"][index % 3]
            words = " ".join(rng.choices([f"word{n}" for n in range(30)], k=5))
            writer.add(split, Row(str(index), f"{words} {label_word}", label))
        writer.finish("made up", labels, normalizer=TextNormalizer())
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "dataset", ["no", "yes"], 1_800)


def exported(dataset: Path, trained: Path, output: Path, **settings: Any) -> ModelBundle:
    bundle, _ = export_bundle(trained, dataset, Export(**settings), output)
    return bundle


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "trained"
    # With almost no regularization, it is overconfident.
    training = LinearTraining(family="linear", min_df=1, C=1_000)
    train_bundle(dataset, "sure", training, folder, TrainingContext())
    return folder


def test_the_temperature_corrects_an_overconfident_model(dataset: Path, trained: Path, tmp_path: Path) -> None:
    bundle = exported(dataset, trained, tmp_path / "exported")
    assert bundle.calibration.temperature > 1.5
    assert bundle.calibration.threshold is None
    before = evaluate_bundle(dataset, trained, tmp_path / "before")
    after = evaluate_bundle(dataset, tmp_path / "exported", tmp_path / "after")
    error_before, error_after = (found.manifest.metrics["calibration_error"].value for found in (before, after))
    assert error_after < 0.5 * error_before
    assert after.manifest.calibration_error_before == pytest.approx(error_before)
    # A temperature changes no predicted class.
    np.testing.assert_array_equal(after.predicted, before.predicted)
    np.testing.assert_array_equal(load_bundle(tmp_path / "exported").predict_proba(after.texts), after.probabilities)


def test_a_promised_precision_holds_on_the_test_split(dataset: Path, trained: Path, tmp_path: Path) -> None:
    bundle = exported(dataset, trained, tmp_path / "precise", threshold="precision", min_precision=0.6)
    threshold = bundle.calibration.threshold
    assert threshold is not None
    evaluation = evaluate_bundle(dataset, tmp_path / "precise", tmp_path / "evaluation")
    positive = evaluation.predicted == 1
    np.testing.assert_array_equal(positive, evaluation.probabilities[:, 1] >= threshold)
    assert positive.any()
    assert evaluation.truth[positive].mean() > 0.6


def test_a_precision_that_cannot_be_promised_gives_no_threshold(
    dataset: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported(dataset, trained, tmp_path / "precise", threshold="precision", min_precision=0.95)
    assert bundle.calibration.threshold is None
    assert (
        "no threshold is kept: none has a precision of 0.95 with 95 % confidence on the validation split (600 texts)"
        in capsys.readouterr().out
    )


def test_exporting_twice_writes_the_same_bundle(dataset: Path, trained: Path, tmp_path: Path) -> None:
    once = exported(dataset, trained, tmp_path / "once", threshold="f1")
    assert exported(dataset, trained, tmp_path / "twice", threshold="f1") == once
    assert ModelBundle.load(tmp_path / "twice") == once


def test_a_threshold_needs_two_labels(tmp_path: Path) -> None:
    dataset = write(tmp_path / "dataset", ["a", "b", "c"], 300)
    train_bundle(dataset, "three", LinearTraining(family="linear", min_df=1), tmp_path / "trained", TrainingContext())
    with pytest.raises(InputError, match="threshold=f1 is for two labels, but there are 3"):
        exported(dataset, tmp_path / "trained", tmp_path / "exported", threshold="f1")
    assert not (tmp_path / "exported").exists()
    bundle = exported(dataset, tmp_path / "trained", tmp_path / "again")
    assert len(bundle.labels) == len(Dataset.open(dataset).manifest.labels) == 3


@pytest.mark.parametrize(
    "settings", [{"threshold": "precision"}, {"min_precision": 0.9}, {"threshold": "f1", "min_precision": 0.9}]
)
def test_min_precision_and_the_threshold_precision_need_each_other(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="go together"):
        Export.model_validate(settings)
