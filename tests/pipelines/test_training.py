"""The compiled training pipeline: order, caching and arguments of its steps, and the versions of their code."""

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipelines.specification import missing_inputs, tasks

from textgate.components.contracts import Recipe
from textgate.components.image import Images
from textgate.components.sources import content_version
from textgate.pipelines import code_version, recipes
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


def test_a_sweep_of_train_loops_over_train_and_continues_with_the_best_model(tmp_path: Path) -> None:
    found, images = sweep("train.learning_rate=2e-5,5e-5", "train.epochs=1,2"), Images("registry.example/steps:1")
    specification, _ = compiled(
        tmp_path, recipes.load("quickstart"), sweep=found, images=Images("registry.example/steps:1")
    )
    assert missing_inputs(specification) == []
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

    # select receives every model with its settings; the chosen model is evaluated and merged.
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


def test_a_sweep_of_preprocess_loops_over_both_and_continues_with_the_best_model_and_its_dataset(
    tmp_path: Path,
) -> None:
    found = sweep("preprocess.normalizer.lowercase=true,false", "train.seed=1,2")
    specification, _ = compiled(tmp_path, recipes.load("quickstart"), sweep=found)
    assert missing_inputs(specification) == []
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
def test_a_training_is_cached_only_if_the_bundles_it_builds_on_are_named_by_version(
    changes: list[str], swept: tuple[str, ...], cached: bool, tmp_path: Path
) -> None:
    recipe = recipes.load("quickstart-ensemble", changes)
    found = combinations(swept, lambda chosen: recipes.load("quickstart-ensemble", chosen)) if swept else ()
    train = tasks(compiled(tmp_path, recipe, sweep=found)[0])["train"]
    assert train.get("cachingOptions", {}).get("enableCache", False) is cached


@pytest.mark.parametrize(
    ("base_model", "cached"),
    [
        (f"hf://org/name@{'a' * 40}", True),
        (f"pypi://some-data/1.0/model#sha256={'a' * 64}", True),
        ("s3://bucket/model/", False),
        ("https://host/model.gguf", False),
        ("/absent/model", False),
    ],
)
def test_a_training_is_cached_only_if_its_base_model_cannot_change(
    base_model: str, cached: bool, tmp_path: Path
) -> None:
    recipe = recipes.load("imdb-distilbert", [f"train.base_model={base_model}"])
    train = tasks(compiled(tmp_path, recipe)[0])["train"]
    assert train.get("cachingOptions", {}).get("enableCache", False) is cached
    assert base_models(train) == {}


def test_the_version_of_a_base_model_on_this_machine_is_part_of_the_cache_key(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    recipe, found = recipes.load("imdb-distilbert", [f"train.base_model={folder}"]), []
    for weights in (b"1", b"2", b"1"):
        (folder / "model.safetensors").write_bytes(weights)
        train = tasks(compiled(tmp_path, recipe)[0])["train"]
        assert train["cachingOptions"] == {"enableCache": True}
        found.append(base_models(train))
        assert found[-1] == {str(folder): content_version(str(folder))}
    assert found[0] == found[2] != found[1]


def base_models(train: dict[str, Any]) -> dict[str, str]:
    """Return the versions of base models by path that a train task is given."""
    versions: dict[str, str] = json.loads(train["inputs"]["parameters"]["base_models"]["runtimeValue"]["constant"])
    return versions


def test_a_sweep_with_one_dataset_preprocesses_it_outside_the_loop(tmp_path: Path) -> None:
    found = sweep("preprocess.normalizer.lowercase=true", "train.seed=1,2")
    specification, _ = compiled(tmp_path, recipes.load("quickstart"), sweep=found)
    outside = specification["components"]["comp-exit-handler-1"]["dag"]["tasks"]["preprocess"]
    settings = json.loads(outside["inputs"]["parameters"]["preprocess"]["runtimeValue"]["constant"])
    assert settings["normalizer"]["lowercase"] is True


def test_without_a_sweep_there_is_no_loop(tmp_path: Path) -> None:
    compile_pipeline(recipes.load("quickstart"), tmp_path / "plain.yaml")
    text = (tmp_path / "plain.yaml").read_text()
    sweep_names = ("comp-sweep", "comp-select", "for-loop", "loop-item")
    assert [word for word in sweep_names if word in text] == []


def test_a_changed_threshold_changes_only_the_inputs_of_the_gates_and_of_record(tmp_path: Path) -> None:
    def inputs(*overrides: str) -> dict[str, Any]:
        specification, _ = compiled(tmp_path, recipes.load("quickstart", list(overrides)))
        return {name: task.get("inputs") for name, task in tasks(specification).items()}

    before, after = inputs(), inputs("gate.min_f1=0.99")
    assert {name for name in before if before[name] != after[name]} == {"gate-trained", "gate-served", "record"}


def test_the_trained_model_is_evaluated_with_the_decision_threshold_of_the_recipe(tmp_path: Path) -> None:
    def passed(*overrides: str) -> dict[str, Any]:
        specification, _ = compiled(tmp_path, recipes.load("quickstart", list(overrides)))
        return dict(tasks(specification)["evaluate"]["inputs"]["parameters"])

    # Without a threshold, the section ``export`` is no part of the cache key.
    assert passed("export.targets=[onnx-fp32]") == passed()
    settings = passed("export.threshold=precision", "export.min_precision=0.9")["export"]["runtimeValue"]["constant"]
    assert json.loads(settings) == {"threshold": "precision", "min_precision": 0.9}


def test_compiling_and_serving_never_import_torch() -> None:
    script = """
import sys
import textgate, textgate.pipelines.cli, textgate.pipelines.training, textgate.serving.server
print(sorted({"torch", "transformers", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


MODULES = {
    **{
        step: f"textgate.components.{step}.component"
        for step in ("ingest", "preprocess", "check_labels", "train", "select", "evaluate")
    },
    **{step: f"textgate.components.{step}.component" for step in ("merge_quantize", "export_onnx", "compare")},
    "system": "textgate.pipelines.compared_system",
}
STEPS = set(MODULES)
MODEL_STEPS = STEPS - {"ingest", "preprocess", "check_labels", "select"}


@pytest.mark.parametrize(
    ("changed", "family", "steps"),
    [
        ("components/ingest/local_source.py", "linear", {"ingest"}),
        ("components/preprocess/preprocess.py", "linear", {"preprocess"}),
        ("components/families/linear.py", "linear", MODEL_STEPS),
        ("components/families/linear.py", "word2vec", MODEL_STEPS),
        ("components/families/linear.py", "transformer", set()),
        ("components/families/transformer/model/adapters.py", "prompted", MODEL_STEPS),
        ("components/families/transformer/model/adapters.py", "linear", set()),
        ("components/inference/onnx.py", "linear", MODEL_STEPS),
        ("components/evaluate/synonyms.txt", "linear", {"evaluate", "system"}),
        ("components/sources/schemes.py", "linear", {"ingest", "train", "evaluate", "merge_quantize", "system"}),
        ("components/check_labels/label_check.py", "linear", {"check_labels"}),
        ("components/families/tfidf.py", "linear", {"check_labels", "evaluate", "system"}),
        ("components/select/select.py", "linear", {"select"}),
        ("components/contracts/comparison.py", "linear", {"compare", "system"}),
        ("components/contracts/normalizer.py", "linear", STEPS),
        ("components/step.py", "linear", STEPS),
        ("components/gate/rules.py", "linear", set()),
        ("pipelines/compared_system.py", "linear", {"system"}),
    ],
)
def test_an_edit_changes_the_version_of_the_steps_that_run_the_code(
    changed: str, family: str, steps: set[str], copy: Path
) -> None:
    assert changed_steps(copy, copy / "textgate" / changed, family=family) == steps


@pytest.mark.parametrize("folder", ["serving", "docs", "pipelines/cli", "pipelines/runners"])
def test_an_edit_of_the_server_the_docs_or_the_command_line_changes_no_version(folder: str, copy: Path) -> None:
    sources = [path for path in (copy / "textgate" / folder).rglob("*") if path.is_file()]
    assert sources
    assert changed_steps(copy, *sources) == set()


def test_a_comment_or_a_docstring_changes_no_version(copy: Path) -> None:
    source = copy / "textgate/components/families/linear.py"
    edited = source.read_bytes().replace(b'"""', b'"""Edited. ', 1) + b"\n# comment\n"
    assert changed_steps(copy, source, edit=lambda _: edited) == set()


def versions(copy: Path, family: str) -> dict[str, str]:
    """Return the version of each step's code in ``copy``, as a process that starts now would compute it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_version, "_ROOT", copy / "textgate")
        _clear_caches()
        found = {step: code_version.code_version(module, [family]) for step, module in MODULES.items()}
    _clear_caches()
    return found


def _clear_caches() -> None:
    for cached in (code_version._imports_of, code_version._defining_module, code_version._content_hash):
        cached.cache_clear()


@functools.cache
def unedited_versions(copy: Path, family: str) -> dict[str, str]:
    return versions(copy, family)


def changed_steps(
    copy: Path,
    *sources: Path,
    family: str = "linear",
    edit: Callable[[bytes], bytes] = lambda content: content + b"\nCHANGED = 1\n",
) -> set[str]:
    """Return the steps whose version changes when ``sources`` are edited."""
    before = unedited_versions(copy, family)
    originals = {source: source.read_bytes() for source in sources}
    for source, original in originals.items():
        source.write_bytes(edit(original))
    try:
        after = versions(copy, family)
    finally:
        for source, original in originals.items():
            source.write_bytes(original)
    return {step for step in before if before[step] != after[step]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the package, which is imported instead if the folder is on the path."""
    folder = tmp_path_factory.mktemp("copy")
    (folder / "textgate").mkdir()
    shutil.copy(ROOT / "__init__.py", folder / "textgate")
    for name in ("components", "pipelines", "serving", "docs"):
        shutil.copytree(ROOT / name, folder / "textgate" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
