"""Cost of a training, from the training to the evaluation of the bundle that is served."""

from pathlib import Path

import pytest

from textgate.components.contracts import Dataset, EnsembleTraining, Export, LinearTraining, ModelBundle, Training
from textgate.components.contracts.training_cost import TrainingCost, read_training_cost, write_training_cost
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.launch import TrainingJob, run
from textgate.pipelines.hub_upload import contents

LINEAR = LinearTraining(family="linear", min_df=1)
pytestmark = pytest.mark.usefixtures("no_store")


def train(dataset: Path, training: Training, folder: Path) -> Path:
    run(TrainingJob(dataset, "films", training, "code", "no-bucket", folder, folder.parent / f"{folder.name}-logs"))
    return folder


def ensemble(*members: Path) -> EnsembleTraining:
    named = [{"bundle": str(folder), "weight": 1} for folder in members]
    return EnsembleTraining.model_validate({"family": "ensemble", "members": named})


def cost_of(folder: Path) -> TrainingCost:
    cost = read_training_cost(folder)
    assert cost is not None
    return cost


def test_an_ensemble_that_is_served_says_what_its_members_took(dataset: Dataset, tmp_path: Path) -> None:
    first, second = (train(dataset.path, LINEAR, tmp_path / name) for name in ("first", "second"))
    trained = cost_of(first)
    assert 0 < trained.seconds < 60
    assert (trained.accelerators, trained.earlier) == (0, [])
    # A member of an earlier version.
    (second / "training_cost.json").unlink()
    write_training_cost(first, trained.model_copy(update={"seconds": 1_000.0}))
    folder = train(dataset.path, ensemble(first, second), tmp_path / "both")
    cost = cost_of(folder)
    assert [(each.bundle, each.role) for each in cost.earlier] == [(str(first), "member"), (str(second), "member")]
    assert cost.unknown_members == [str(second)]
    assert cost.seconds < 60
    assert cost.total_seconds == cost.seconds + 1_000
    assert not list((folder / "members").rglob("training_cost.json"))
    merge_bundle(folder, tmp_path / "merged")
    exported, _ = export_bundle(tmp_path / "merged", dataset.path, Export(), tmp_path / "exported")
    assert evaluate_bundle(dataset.path, tmp_path / "exported", tmp_path / "evaluation").manifest.training_cost == cost
    assert "training_cost.json" not in contents(tmp_path / "exported", exported, "card", "org/films")


def test_two_trainings_of_the_same_model_are_one_version(dataset: Dataset, tmp_path: Path) -> None:
    first, second = (ModelBundle.load(train(dataset.path, LINEAR, tmp_path / name)) for name in ("first", "second"))
    assert cost_of(tmp_path / "first") != cost_of(tmp_path / "second")
    assert first == second
