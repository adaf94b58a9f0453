"""The compiled pipeline of a recipe with several shards, and with several nodes."""

import json
from pathlib import Path
from typing import Any

import yaml

from textgate.components.contracts import Recipe
from textgate.pipelines import recipes
from textgate.pipelines.sweep import combinations
from textgate.pipelines.training import compile_pipeline


def compiled(tmp_path: Path, recipe: Recipe, **options: Any) -> list[dict[str, Any]]:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(recipe, path, **options)
    return list(yaml.safe_load_all(path.read_text()))


def test_ingest_and_cleaning_loop_over_the_parts_and_are_joined_after_the_loop(tmp_path: Path) -> None:
    specification, _ = compiled(tmp_path, recipes.load("quickstart", ["resources.shards=3"]))
    inside = specification["components"]["comp-shards"]["dag"]["tasks"]
    (loop,) = (task for task in inside.values() if "parameterIterator" in task)
    assert json.loads(loop["parameterIterator"]["items"]["raw"]) == [0, 1, 2]
    looped = specification["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert set(looped) == {"ingest-part", "clean-part"}
    assert set(inside) - {loop["taskInfo"]["name"]} == {"join-parts", "preprocess-parts"}
    outside = specification["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert {"ingest", "preprocess"}.isdisjoint(outside)
    for task in ("train", "evaluate"):
        dataset = outside[task]["inputs"]["artifacts"]["dataset"]["taskOutputArtifact"]
        assert dataset["producerTask"] == "shards"


def test_a_sweep_of_preprocess_ingests_in_parts_and_preprocesses_in_its_own_loop(tmp_path: Path) -> None:
    overrides = ["resources.shards=3"]
    sweep = combinations(
        ["preprocess.normalizer.lowercase=true,false"], lambda more: recipes.load("quickstart", [*overrides, *more])
    )
    specification, _ = compiled(tmp_path, recipes.load("quickstart", overrides), sweep=sweep)
    tasks = {name for part in specification["components"].values() for name in part.get("dag", {}).get("tasks", {})}
    assert {"ingest-part", "join-parts", "preprocess", "select-with-dataset"} <= tasks
    assert {"ingest", "clean-part", "preprocess-parts"}.isdisjoint(tasks)


def test_a_train_step_for_several_nodes_gets_their_resources_and_requests_no_accelerator(tmp_path: Path) -> None:
    overrides = ["resources.nodes=2", "resources.accelerator={count: 4}", "resources.cpu='8'", "resources.hours=12"]
    specification, platform = compiled(tmp_path, recipes.load("quickstart", [*overrides, "train.batch_size=32"]))
    task = specification["components"]["comp-exit-handler-1"]["dag"]["tasks"]["train"]
    nodes = json.loads(task["inputs"]["parameters"]["nodes"]["runtimeValue"]["constant"])
    assert (nodes["nodes"], nodes["cpu"], nodes["accelerator"]["count"]) == (2, "8", 4)
    executor = specification["deploymentSpec"]["executors"]["exec-train"]["container"]
    assert "accelerator" not in executor["resources"]
    evaluate = specification["deploymentSpec"]["executors"]["exec-evaluate"]["container"]
    assert executor["image"] == evaluate["image"]
    assert evaluate["resources"]["accelerator"]["resourceCount"] == "4"
    timeouts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert timeouts["activeDeadlineSeconds"] == str(12 * 3600)
