"""A training that uses finished bundles: the version it uses and records."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from textgate.components.contracts import (
    Dataset,
    EnsembleTraining,
    InputError,
    LinearTraining,
    ModelBundle,
    Row,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.families import TrainingContext
from textgate.components.storage import Registry, Store
from textgate.components.train.component import train
from textgate.components.train.launch import TrainingJob, fetch_inputs, resolve_refs, run
from textgate.components.train.train import train_bundle


@pytest.fixture(scope="module")
def systems(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three different linear bundles."""
    folder = tmp_path_factory.mktemp("systems")
    for index in range(3):
        settings = LinearTraining(family="linear", min_df=1, C=10.0**index)
        train_bundle(dataset, "films", settings, folder / str(index), TrainingContext())
    return [folder / str(index) for index in range(3)]


@pytest.fixture
def registry(store: Store, systems: list[Path]) -> Registry:
    """Registry with a champion of the model ``first``, and a version of ``second`` without a champion."""
    registry = Registry(store)
    registry.update_channel("first", registry.publish("first", systems[0]), run="run", reason="test", expected=None)
    registry.publish("second", systems[1])
    return registry


def ensemble(*members: object) -> EnsembleTraining:
    listed = [{"bundle": str(member)} for member in members]
    return EnsembleTraining.model_validate({"family": "ensemble", "members": listed})


def job(dataset: Path, training: EnsembleTraining, store: Store, folder: Path) -> TrainingJob:
    return TrainingJob(dataset, "both", training, "code", store.bucket, folder / "model", folder / "logs")


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), metadata={})


def test_the_step_fetches_named_bundles_and_records_their_versions(
    dataset: Path, systems: list[Path], registry: Registry, tmp_path: Path
) -> None:
    settings = ensemble("first", systems[2]).model_dump_json()
    model, logs = artifact(tmp_path / "model"), artifact(tmp_path / "logs")
    train.python_func(artifact(dataset), "both", settings, "code", registry.store.bucket, model, logs)
    bundle = ModelBundle.load(tmp_path / "model")
    names = [member["bundle"] for member in bundle.recipe["train"]["members"]]
    version = registry.versions("first")[0]
    assert names == [f"first@{version}", str(systems[2])]
    assert model.metadata["validation_f1"] == bundle.metrics["validation_f1"]
    for name, system in (("members/0", systems[0]), ("members/1", systems[2])):
        assert ModelBundle.load(tmp_path / "model" / name) == ModelBundle.load(system)


def test_a_moved_channel_changes_the_checkpoint_prefix(
    dataset: Path, systems: list[Path], registry: Registry, store: Store, tmp_path: Path
) -> None:
    def prefix() -> str:
        resolved = resolve_refs(job(dataset, ensemble("first", systems[2]), store, tmp_path))
        return fetch_inputs(resolved, 1, tmp_path / "scratch").checkpoint_prefix

    before = prefix()
    assert prefix() == before
    other = registry.publish("first", systems[1])
    registry.update_channel("first", other, run="run", reason="test", expected=registry.channel("first").version)  # type: ignore[union-attr]
    assert prefix() != before


def test_a_changed_bundle_in_a_folder_changes_the_checkpoint_prefix(
    dataset: Path, systems: list[Path], registry: Registry, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "system"
    inputs = []
    for system in systems[1:]:
        folder.symlink_to(system)
        inputs.append(fetch_inputs(job(dataset, ensemble("first", folder), store, tmp_path), 1, tmp_path / "scratch"))
        folder.unlink()
    assert inputs[0].bundles == inputs[1].bundles
    assert inputs[0].checkpoint_prefix != inputs[1].checkpoint_prefix


def test_a_missing_bundle_or_one_with_other_labels_is_one_sentence(
    dataset: Path, systems: list[Path], registry: Registry, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "reversed").mkdir()
    reversed_labels = ModelBundle.load(systems[0]).model_copy(update={"labels": ["good", "bad"]})
    reversed_labels.write(tmp_path / "reversed")
    for reference, sentence in (
        ("none", r"^the finished system none, which the recipe builds on, must be there first: no model 'none' in "),
        ("second", r"^the finished system second, .*: the model second has no champion: run a recipe that promotes"),
        ("first@0123456789ab", r"the model first has no version '0123456789ab'; it has "),
        (
            tmp_path / "reversed",
            r"reversed has the labels \['good', 'bad'\], but the dataset has \['bad', 'good'\]$",
        ),
    ):
        with pytest.raises(InputError, match=sentence):
            run(job(dataset, ensemble("first", reference), store, tmp_path))
        assert not (tmp_path / "model").exists()


def test_a_bundle_trained_on_another_dataset_prints_a_warning(
    dataset: Path, registry: Registry, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = job(dataset, ensemble("first", "first"), store, tmp_path)
    fetch_inputs(same, 1, tmp_path / "scratch")
    assert capsys.readouterr().out == ""
    with dataset_writer(tmp_path / "other", ["train", "validation"]) as writer:
        for index, label in enumerate(["bad", "good"] * 4):
            writer.add(["train", "validation"][index > 3], Row(str(index), f"{label} {index}", label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer())
    assert Dataset.open(tmp_path / "other").manifest.fingerprint != Dataset.open(dataset).manifest.fingerprint
    fetch_inputs(job(tmp_path / "other", ensemble("first", "first"), store, tmp_path), 1, tmp_path / "scratch")
    assert "first was trained on another dataset and does not say on which texts: if these" in capsys.readouterr().out
