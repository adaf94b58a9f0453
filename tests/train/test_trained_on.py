"""Keys of the texts that a bundle was trained on, from the training to the bundle that is served and published."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families.served import serve

from textgate.components.contracts import (
    Adapter,
    Dataset,
    Distillation,
    EnsembleTraining,
    LinearTraining,
    ModelBundle,
    Preprocess,
    Row,
    TransformerTraining,
    dataset_writer,
)
from textgate.components.contracts.text_keys import TRAINED_ON, Keys, read_trained_on
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.train.train import train_bundle
from textgate.pipelines.hub_upload import contents

LINEAR = LinearTraining(family="linear", min_df=1)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """The same texts, split with two seeds."""
    folder = tmp_path_factory.mktemp("splits")
    with dataset_writer(folder / "raw", ["all"]) as writer:
        for index in range(120):
            label = ["bad", "good"][index % 2]
            writer.add("all", Row(str(index), f"Word{index} word{index // 2} {label}!", label))
        writer.finish("made up", ["bad", "good"])
    for seed in (13, 14):
        preprocess_dataset(folder / "raw", Preprocess(seed=seed), folder / str(seed))
    return [Dataset.open(folder / "13"), Dataset.open(folder / "14")]


def learned(*datasets: Dataset) -> list[int]:
    """Return the sorted keys of all training and validation texts."""
    keys = [
        keys for dataset in datasets for split in ("train", "validation") if (keys := dataset.keys(split)) is not None
    ]
    return sorted(set(np.concatenate(keys).tolist()))


def known(folder: Path) -> list[int]:
    keys: Keys | None = read_trained_on(folder)
    assert keys is not None
    return list(keys.tolist())


def train(dataset: Dataset, training: Any, folder: Path, **context: Any) -> Path:
    train_bundle(dataset.path, "made-up", training, folder, TrainingContext(**context))
    return folder


def ensemble(first: str, second: str) -> EnsembleTraining:
    return EnsembleTraining.model_validate(
        {"family": "ensemble", "members": [{"bundle": first, "weight": 1}, {"bundle": second, "weight": 1}]}
    )


def test_a_bundle_that_needs_no_export_carries_the_keys_of_its_training_and_validation_texts(
    splits: list[Dataset], tmp_path: Path
) -> None:
    train(splits[0], LINEAR, tmp_path / "trained")
    merge_bundle(tmp_path / "trained", tmp_path / "merged")
    bundle = serve(splits[0].path, tmp_path / "merged", tmp_path / "served")
    assert known(tmp_path / "served") == learned(splits[0])
    test = splits[0].keys("test")
    assert test is not None
    assert not set(known(tmp_path / "served")) & set(test.tolist())
    assert TRAINED_ON in bundle.files
    assert bundle.size == sum(entry.size for name, entry in bundle.files.items() if name != TRAINED_ON)


def test_an_ensemble_carries_the_keys_of_its_members(splits: list[Dataset], tmp_path: Path) -> None:
    members = {str(number): train(dataset, LINEAR, tmp_path / str(number)) for number, dataset in enumerate(splits)}
    folder = train(splits[0], ensemble("0", "1"), tmp_path / "both", bundles=members)
    assert known(folder) == learned(*splits) != learned(splits[0])
    assert not list((folder / "members").rglob(TRAINED_ON))
    serve(splits[0].path, folder, tmp_path / "served")
    assert known(tmp_path / "served") == learned(*splits)

    (members["1"] / TRAINED_ON).unlink()
    ModelBundle.load(members["0"]).model_copy(update={"files": {}}).write(members["1"])
    unknown = train(splits[0], ensemble("0", "1"), tmp_path / "unknown", bundles=members)
    assert read_trained_on(unknown) is None


def test_a_distilled_student_carries_the_keys_of_its_teacher_through_merge_and_export(
    splits: list[Dataset], tiny_encoder: Path, tmp_path: Path
) -> None:
    teacher = train(splits[1], LINEAR, tmp_path / "teacher")
    training = TransformerTraining(
        family="transformer",
        base_model=str(tiny_encoder),
        max_tokens=16,
        epochs=1,
        precision="fp32",
        adapter=Adapter(r=2),
        distillation=Distillation(teacher="teacher"),
    )
    train(splits[0], training, tmp_path / "trained", base_model=tiny_encoder, bundles={"teacher": teacher})
    merge_bundle(tmp_path / "trained", tmp_path / "merged")
    bundle = serve(splits[0].path, tmp_path / "merged", tmp_path / "served", ["onnx-fp32", "hf"])
    for step in ("trained", "merged", "served"):
        assert known(tmp_path / step) == learned(*splits)
        ModelBundle.load(tmp_path / step)
    # Another server reads this folder, and it is what is copied out of the registry.
    assert [name for name in bundle.files if name.endswith(TRAINED_ON)] == [TRAINED_ON]
    assert load_bundle(tmp_path / "served").predict_proba(["word1 good"]).shape == (1, 2)


def test_a_dataset_of_an_earlier_version_gives_a_bundle_without_keys(dataset: Path, tmp_path: Path) -> None:
    bundle = train_bundle(dataset, "old", LINEAR, tmp_path / "bundle", TrainingContext())
    assert read_trained_on(tmp_path / "bundle") is None
    assert TRAINED_ON not in bundle.files


def test_what_is_published_holds_no_keys_and_has_the_same_fingerprint(splits: list[Dataset], tmp_path: Path) -> None:
    folder = train(splits[0], LINEAR, tmp_path / "bundle")
    bundle = ModelBundle.load(folder)
    files = contents(folder, bundle, "card", "org/name")
    assert files.keys() == {"README.md", "bundle.json", *bundle.files} - {TRAINED_ON}
    (tmp_path / "copy").mkdir()
    for name, content in files.items():
        if name != "README.md":
            (tmp_path / "copy" / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    assert ModelBundle.load(tmp_path / "copy").fingerprint == bundle.fingerprint
    assert read_trained_on(tmp_path / "copy") is None
    np.testing.assert_array_equal(
        load_bundle(tmp_path / "copy").predict_proba(["good"]), load_bundle(folder).predict_proba(["good"])
    )
