"""The compiled comparison pipeline, the recipes that the command compares, and a system that fails."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipelines.specification import missing_inputs, tasks

from textgate.components.contracts import Dataset, Export, InputError, LinearTraining, Recipe
from textgate.components.contracts.comparison import CostLimits
from textgate.components.image import Images
from textgate.components.storage import Store
from textgate.pipelines import recipes
from textgate.pipelines.cli.compare import recipes_to_compare
from textgate.pipelines.compared_system import SystemSpec, train_system
from textgate.pipelines.comparison import compile_comparison
from textgate.pipelines.pods import largest_resources

NAMES = ("imdb-tfidf", "toxic-lsa", "quickstart")


def compare(*names: str, source: str | None = None, **options: Any) -> list[Recipe]:
    chosen = {"where": None, "overrides": (), "model": None, **options}
    return recipes_to_compare(names or NAMES, source, chosen["where"], chosen["overrides"], chosen["model"])


def test_source_preprocess_gate_and_model_are_taken_from_one_recipe() -> None:
    plain = {name: recipes.load(name) for name in NAMES}
    first, named = compare(), compare(source="quickstart")
    for found, data in ((first, plain["imdb-tfidf"]), (named, plain["quickstart"])):
        assert [recipe.name for recipe in found] == list(NAMES)
        for recipe in found:
            assert (recipe.source, recipe.preprocess, recipe.gate, recipe.model) == (
                data.source,
                data.preprocess,
                data.gate,
                data.model,
            )
            assert (recipe.train, recipe.export) == (plain[recipe.name].train, plain[recipe.name].export)


def test_a_uri_is_read_with_the_source_settings_of_the_first_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = compare(source="reviews.csv", where="stars > 3", model="films")
    source = recipes.load("imdb-tfidf").source.model_copy(
        update={"uri": str(tmp_path / "reviews.csv"), "where": "stars > 3"}
    )
    assert {(recipe.source.uri, recipe.model) for recipe in found} == {(source.uri, "films")}
    assert all(recipe.source == source for recipe in found)


def test_every_recipe_needs_the_analyses_that_the_shared_gate_judges(tmp_path: Path) -> None:
    plain = (Path(recipes.__file__).parent / "imdb-tfidf.yaml").read_text("utf-8")
    bare = tmp_path / "bare.yaml"
    bare.write_text(plain.replace("name: imdb-tfidf", "name: bare") + "evaluate: {robustness: [], baseline_texts: 0}\n")
    judged = tmp_path / "judged.yaml"
    for condition, key in (("max_robustness_loss: 0.1", "robustness"), ("beats_baseline: true", "baseline_texts")):
        judged.write_text(plain.replace("name: imdb-tfidf", "name: judged").replace("gate:", f"gate:\n  {condition}"))
        assert len(compare(str(judged), "quickstart")) == 2
        sentence = rf"bare with the gate of judged: gate\.\w+ needs .*evaluate\.{key}"
        with pytest.raises(InputError, match=sentence):
            compare(str(judged), str(bare))


def test_set_overrides_a_key_in_every_recipe_that_has_it() -> None:
    found = compare(source="quickstart", overrides=("train.C=3", "train.epochs=1", "preprocess.seed=7"))
    assert [getattr(recipe.train, "C", None) for recipe in found] == [3, 3, None]
    assert [getattr(recipe.train, "epochs", None) for recipe in found] == [None, None, 1]
    assert {recipe.preprocess.seed for recipe in found} == {7}


@pytest.mark.parametrize(
    ("names", "options", "sentence"),
    [
        (("quickstart",), {}, "compare takes two recipes or more, of different names, not quickstart"),
        (("quickstart", "quickstart"), {}, "of different names, not quickstart, quickstart"),
        (NAMES, {"overrides": ("train.CC=1",)}, "--set train.CC=1: none of the recipes has this key"),
        (NAMES, {"overrides": ("train.adapter.r=1",)}, "none of the recipes has this key"),
        (NAMES, {"overrides": ("train.C=-1",)}, "imdb-tfidf: train.C: input should be greater than 0"),
        (NAMES, {"model": "No Name"}, "model: must be 1 to 63 lower-case letters"),
        (("quickstart", "toxic-lsi"), {}, "no recipe 'toxic-lsi'; did you mean toxic-lsa"),
    ],
)
def test_wrong_arguments_are_reported_in_one_sentence(
    names: tuple[str, ...], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        compare(*names, **options)


def test_systems_are_trained_one_after_another_and_the_winner_is_judged_by_the_second_gate(tmp_path: Path) -> None:
    found, limits = compare(source="quickstart"), CostLimits(max_latency_ms=5)
    paths = [tmp_path / "1.yaml", tmp_path / "2.yaml"]
    for path in paths:
        compile_comparison(found, limits, path, Images("registry.example/steps:1"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    specification = next(yaml.load_all(paths[0].read_text(), yaml.CSafeLoader))
    assert missing_inputs(specification) == []
    all_tasks = tasks(specification)
    loop = next(task for task in all_tasks.values() if "parameterIterator" in task)
    assert loop["iteratorPolicy"] == {"parallelismLimit": 1}
    systems = [json.loads(item) for item in json.loads(loop["parameterIterator"]["items"]["raw"])]
    assert systems == [recipe.model_dump(mode="json", include={"name", "train", "export"}) for recipe in found]
    looped = specification["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert list(looped) == ["system"]
    after = all_tasks["compare"]["inputs"]["parameters"]
    assert json.loads(after["limits"]["runtimeValue"]["constant"]) == {"max_latency_ms": 5, "max_size_mb": None}
    assert all_tasks["gate-served"]["inputs"]["parameters"]["recipe"]["componentInputParameter"].endswith(
        "compare-recipe"
    )
    uncached = {name for name, task in all_tasks.items() if not task.get("cachingOptions", {}).get("enableCache")}
    assert {"gate-served", "promote", "record"} <= uncached
    assert uncached.isdisjoint({"ingest", "preprocess", "system", "compare", "evaluate"})
    executors = specification["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {"registry.example/steps:1"}


def test_the_step_that_trains_systems_requests_the_largest_resources(tmp_path: Path) -> None:
    device = ("resources.accelerator.count=1", "resources.cpu=500m", "resources.memory=20G", "resources.hours=5")
    trained = recipes.load("quickstart", [*device, "resources.node_selector={pool: gpu}", "resources.shm=1Gi"])
    words = recipes.load("imdb-tfidf", ["resources.cpu='4'", "resources.memory=18Gi", "resources.accelerator.count=8"])
    largest = largest_resources([words, trained])
    # 20e9 bytes are more than 18 * 2**30; the accelerator of a family that does not use one is ignored.
    assert (largest.cpu, largest.memory, largest.hours) == ("4", "20G", 24)
    assert largest.accelerator is not None
    assert (largest.accelerator.count, largest.node_selector, largest.shm) == (1, {"pool": "gpu"}, "1Gi")

    path = tmp_path / "pipeline.yaml"
    compile_comparison([words, trained], CostLimits(), path, Images("steps:1", "gpu:1"))
    specification = next(yaml.load_all(path.read_text(), yaml.CSafeLoader))
    images = {name: one["container"]["image"] for name, one in specification["deploymentSpec"]["executors"].items()}
    assert [name for name, image in images.items() if image == "gpu:1"] == ["exec-system"]
    resources = specification["deploymentSpec"]["executors"]["exec-system"]["container"]["resources"]
    assert (resources["resourceCpuLimit"], resources["resourceMemoryLimit"]) == ("4", "20G")
    assert resources["accelerator"]["resourceCount"] == "1"


def test_steps_that_judge_a_folder_get_an_accelerator_and_promote_does_not(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    folder = recipes.load("quickstart", ["resources.accelerator.count=1", "export.targets=[onnx-int8, hf]"])
    compile_comparison([recipes.load("imdb-tfidf"), folder], CostLimits(), path, Images("steps:1", "gpu:1"))
    executors = next(yaml.load_all(path.read_text(), yaml.CSafeLoader))["deploymentSpec"]["executors"]
    on_gpu = {name for name, one in executors.items() if one["container"]["image"] == "gpu:1"}
    assert on_gpu == {"exec-system", "exec-compare", "exec-evaluate", "exec-gate-served"}


def test_a_killed_system_is_reported_and_leaves_no_files(
    dataset: Dataset, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the process when it starts, as the kernel kills a process that needs too much memory."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text(
        "import os, sys\nif 'textgate.pipelines.compared_system' in sys.orig_argv:\n    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    spec = SystemSpec(name="words", train=LinearTraining(family="linear"), export=Export())
    reason = train_system(spec, dataset.path, "code", store.bucket, tmp_path / "output")
    assert reason.startswith("it was killed by signal 9")
    assert not (tmp_path / "output").exists()
    assert list((tmp_path / "scratch").iterdir()) == []
