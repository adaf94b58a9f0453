"""The compiled pipeline: what runs in which order, what is cached, and what is told to whom."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipelines.specification import not_given, tasks

from textgate.components.contracts import Recipe
from textgate.components.image import Images
from textgate.pipelines import recipes
from textgate.pipelines.sweep import Combination, combinations
from textgate.pipelines.training import compile_pipeline

ROOT = Path(__file__).parents[2]


def compiled(tmp_path: Path, recipe: Recipe, **options: Any) -> list[dict[str, Any]]:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(recipe, path, **options)
    return list(yaml.load_all(path.read_text(), yaml.CSafeLoader))


def sweep(*sweeps: str) -> list[Combination]:
    return combinations(sweeps, lambda chosen: recipes.load("quickstart", chosen))


SWEEPS = [
    (),
    ("train.learning_rate=2e-5,5e-5", "train.epochs=1,2"),
    ("preprocess.normalizer.lowercase=true,false", "train.seed=1,2"),
]


@pytest.mark.parametrize("swept", SWEEPS, ids=str)
def test_compiling_twice_gives_the_same_bytes(swept: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("1", "2"):
        compile_pipeline(recipes.load("quickstart"), tmp_path / f"{name}.yaml", sweep=sweep(*swept) if swept else ())
    assert (tmp_path / "1.yaml").read_bytes() == (tmp_path / "2.yaml").read_bytes()


def test_a_sweep_over_the_training_loops_over_it_alone_and_the_best_goes_on(tmp_path: Path) -> None:
    found, images = sweep("train.learning_rate=2e-5,5e-5", "train.epochs=1,2"), Images("registry.example/steps:1")
    specification, _ = compiled(
        tmp_path, recipes.load("quickstart"), sweep=found, images=Images("registry.example/steps:1")
    )
    assert not_given(specification) == []
    inside = specification["components"]["comp-sweep"]["dag"]
    (loop,) = (task for task in inside["tasks"].values() if "parameterIterator" in task)
    trainings = [json.loads(item) for item in json.loads(loop["parameterIterator"]["items"]["raw"])]
    assert trainings == [combination.recipe.train.model_dump(mode="json") for combination in found]
    assert [(one["learning_rate"], one["epochs"]) for one in trainings] == [(2e-5, 1), (2e-5, 2), (5e-5, 1), (5e-5, 2)]
    looped = specification["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    assert list(looped) == ["train"]
    assert looped["train"]["inputs"]["parameters"]["training"] == {
        "componentInputParameter": loop["parameterIterator"]["itemInput"]
    }

    # Every model comes to select, in whose settings each is named, and what it chooses is what is judged and merged.
    select = inside["tasks"]["select"]
    models = select["inputs"]["artifacts"]["models"]["taskOutputArtifact"]
    assert models == {"outputArtifactKey": "pipelinechannel--train-model", "producerTask": loop["taskInfo"]["name"]}
    settings = json.loads(select["inputs"]["parameters"]["settings"]["runtimeValue"]["constant"])
    assert settings == [combination.settings for combination in found]
    assert inside["outputs"]["artifacts"] == {
        name: {"artifactSelectors": [{"outputArtifactKey": name, "producerSubtask": "select"}]}
        for name in ("model", "table")
    }
    everything = tasks(specification)
    assert everything["evaluate"]["inputs"]["artifacts"] == {
        "dataset": {"taskOutputArtifact": {"outputArtifactKey": "dataset", "producerTask": "preprocess"}},
        "model": {"taskOutputArtifact": {"outputArtifactKey": "model", "producerTask": "sweep"}},
    }
    assert everything["merge-quantize"]["inputs"]["artifacts"]["model"] == {
        "componentInputArtifact": "pipelinechannel--sweep-model"
    }
    assert select["cachingOptions"] == {"enableCache": True}
    executors = specification["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {images.cpu}


def test_a_sweep_over_the_preprocessing_repeats_it_too_and_the_best_goes_on_with_its_dataset(tmp_path: Path) -> None:
    found = sweep("preprocess.normalizer.lowercase=true,false", "train.seed=1,2")
    specification, _ = compiled(tmp_path, recipes.load("quickstart"), sweep=found)
    assert not_given(specification) == []
    inside = specification["components"]["comp-sweep"]["dag"]
    (loop,) = (task for task in inside["tasks"].values() if "parameterIterator" in task)
    items = json.loads(loop["parameterIterator"]["items"]["raw"])
    sections = [{section: json.loads(text) for section, text in item.items()} for item in items]
    assert sections == [
        combination.recipe.model_dump(mode="json", include={"preprocess", "train"}) for combination in found
    ]
    looped = specification["components"][loop["componentRef"]["name"]]["dag"]["tasks"]
    item = loop["parameterIterator"]["itemInput"]
    for task, parameter, section in (("preprocess", "preprocess", "preprocess"), ("train", "training", "train")):
        assert looped[task]["inputs"]["parameters"][parameter] == {
            "componentInputParameter": item,
            "parameterExpressionSelector": f'parseJson(string_value)["{section}"]',
        }
    artifacts = inside["tasks"]["select-with-dataset"]["inputs"]["artifacts"]
    assert {key: value["taskOutputArtifact"]["outputArtifactKey"] for key, value in artifacts.items()} == {
        "models": "pipelinechannel--train-model",
        "datasets": "pipelinechannel--preprocess-dataset",
    }
    for task in ("evaluate", "gate-trained", "evaluate-2", "gate-served"):
        dataset = tasks(specification)[task]["inputs"]["artifacts"]["dataset"]
        assert "sweep" in json.dumps(dataset), task


@pytest.mark.parametrize(
    ("changes", "swept", "cached"),
    [
        (["train.members=[{bundle: films@0123456789ab}, {bundle: films@ba9876543210}]"], (), True),
        (["train.members=[{bundle: films@0123456789ab}, {bundle: films}]"], (), False),
        (["train.members=[{bundle: films@0123456789ab}, {bundle: films@shadow}]"], (), False),
        (["train.members=[{bundle: films@0123456789ab}, {bundle: /films}]"], (), False),
        (
            ["train.members=[{bundle: films@0123456789ab}, {bundle: films@ba9876543210}]"],
            (
                "train.members=[{bundle: films@0123456789ab}, {bundle: films@ba9876543210}],"
                "[{bundle: films@0123456789ab}, {bundle: films}]",
            ),
            False,
        ),
    ],
)
def test_a_training_is_taken_from_the_cache_only_if_what_it_builds_on_is_named_for_good(
    changes: list[str], swept: tuple[str, ...], cached: bool, tmp_path: Path
) -> None:
    recipe = recipes.load("quickstart-ensemble", changes)
    found = combinations(swept, lambda chosen: recipes.load("quickstart-ensemble", chosen)) if swept else ()
    train = tasks(compiled(tmp_path, recipe, sweep=found)[0])["train"]
    assert train.get("cachingOptions", {}).get("enableCache", False) is cached


def test_a_value_that_changes_no_dataset_keeps_the_preprocessing_outside_the_loop(tmp_path: Path) -> None:
    found = sweep("preprocess.normalizer.lowercase=true", "train.seed=1,2")
    specification, _ = compiled(tmp_path, recipes.load("quickstart"), sweep=found)
    outside = specification["components"]["comp-exit-handler-1"]["dag"]["tasks"]["preprocess"]
    settings = json.loads(outside["inputs"]["parameters"]["preprocess"]["runtimeValue"]["constant"])
    assert settings["normalizer"]["lowercase"] is True


def test_without_a_sweep_nothing_of_one_is_compiled(tmp_path: Path) -> None:
    compile_pipeline(recipes.load("quickstart"), tmp_path / "plain.yaml")
    text = (tmp_path / "plain.yaml").read_text()
    of_a_sweep = ("comp-sweep", "comp-select", "for-loop", "loop-item")
    assert [word for word in of_a_sweep if word in text] == []


def test_a_changed_threshold_changes_only_the_gates_and_the_record(tmp_path: Path) -> None:
    def inputs(*overrides: str) -> dict[str, Any]:
        specification, _ = compiled(tmp_path, recipes.load("quickstart", list(overrides)))
        return {name: task.get("inputs") for name, task in tasks(specification).items()}

    before, after = inputs(), inputs("gate.min_f1=0.99")
    assert {name for name in before if before[name] != after[name]} == {"gate-trained", "gate-served", "record"}


def test_compiling_and_serving_never_import_torch() -> None:
    script = """
import sys
import textgate, textgate.pipelines.cli, textgate.pipelines.training, textgate.serving.server
print(sorted({"torch", "transformers", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


JUDGED = {"train", "evaluate", "merge_quantize", "export_onnx", "compare"}
STEPS = {"ingest", "preprocess", "select", *JUDGED}


@pytest.mark.parametrize(
    ("changed", "family", "steps"),
    [
        ("components/ingest/local_source.py", "linear", {"ingest"}),
        ("components/preprocess/preprocess.py", "linear", {"preprocess"}),
        ("components/families/linear.py", "linear", JUDGED),
        ("components/families/linear.py", "word2vec", JUDGED),
        ("components/families/linear.py", "transformer", set()),
        ("components/families/transformer/model/adapters.py", "prompted", JUDGED),
        ("components/families/transformer/model/adapters.py", "linear", set()),
        ("components/inference/onnx.py", "linear", JUDGED),
        ("components/evaluate/synonyms.txt", "linear", {"evaluate"}),
        ("components/sources/schemes.py", "linear", {"ingest", "train", "evaluate", "merge_quantize"}),
        ("components/select/select.py", "linear", {"select"}),
        ("components/contracts/comparison.py", "linear", {"compare"}),
        ("components/contracts/normalizer.py", "linear", STEPS),
        ("components/step.py", "linear", STEPS),
        ("components/gate/rules.py", "linear", set()),
    ],
)
def test_a_change_of_code_changes_the_version_of_the_steps_that_run_it(
    changed: str, family: str, steps: set[str], copy: Path
) -> None:
    assert changed_steps(copy, copy / "textgate" / changed, family=family) == steps


@pytest.mark.parametrize("folder", ["serving", "docs", "pipelines/cli"])
def test_a_change_of_the_server_the_docs_or_the_commands_changes_no_version(folder: str, copy: Path) -> None:
    sources = [path for path in (copy / "textgate" / folder).rglob("*") if path.is_file()]
    assert sources
    assert changed_steps(copy, *sources) == set()


def test_a_comment_or_a_docstring_changes_no_version(copy: Path) -> None:
    source = copy / "textgate/components/families/linear.py"
    assert (
        changed_steps(copy, source, edit=lambda text: text.replace('"""', '"""Edited. ', 1) + "\n# comment\n") == set()
    )


def versions(copy: Path, family: str) -> dict[str, str]:
    script = f"""
from textgate.pipelines.code_version import code_version, step_module
for step in {sorted(STEPS)}:
    print(step, code_version(step_module(step), ["{family}"]))
"""
    environment = {"PYTHONPATH": str(copy)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return dict(line.split() for line in done.stdout.splitlines())


def changed_steps(
    copy: Path,
    *sources: Path,
    family: str = "linear",
    edit: Callable[[str], str] = lambda text: f"{text}\nCHANGED = 1\n",
) -> set[str]:
    """Steps whose version is another one while ``sources`` are edited."""
    before = versions(copy, family)
    originals = {source: source.read_bytes() for source in sources}
    for source, original in originals.items():
        source.write_text(edit(original.decode("utf-8")), "utf-8")
    try:
        after = versions(copy, family)
    finally:
        for source, original in originals.items():
            source.write_bytes(original)
    return {step for step in before if before[step] != after[step]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's sources under another folder, which an interpreter with it on its path imports instead."""
    folder = tmp_path_factory.mktemp("copy")
    (folder / "textgate").mkdir()
    shutil.copy(ROOT / "__init__.py", folder / "textgate")
    for room in ("components", "pipelines", "serving", "docs"):
        shutil.copytree(ROOT / room, folder / "textgate" / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
