"""The compiled pipeline: what runs in which order, what is cached, and what is told to whom."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from textgate.components.contracts import Recipe
from textgate.pipelines import recipes
from textgate.pipelines.training import compile_pipeline

ROOT = Path(__file__).parents[2]
ALWAYS_RUN = {"gate-trained", "gate-served", "promote", "record"}


def compiled(tmp_path: Path, recipe: Recipe, **options: Any) -> list[dict[str, Any]]:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(recipe, path, **options)
    return list(yaml.safe_load_all(path.read_text()))


def tasks(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every task of every DAG by name."""
    found = {}
    for component in [specification["root"], *specification["components"].values()]:
        found.update(component.get("dag", {}).get("tasks", {}))
    return found


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_compiles_to_the_whole_pipeline(name: str, tmp_path: Path) -> None:
    (specification,) = compiled(tmp_path, recipes.load(name), image="registry.example/steps:1")
    steps = {task for task in tasks(specification) if not task.startswith(("condition", "exit-handler"))}
    assert steps == {
        *("ingest", "preprocess", "train", "evaluate", "gate-trained"),
        *("merge-quantize", "export-onnx", "evaluate-2", "gate-served", "promote", "record"),
    }
    for step in steps:
        cached = tasks(specification)[step].get("cachingOptions", {}).get("enableCache", False)
        assert cached is (step not in ALWAYS_RUN), step
    images = {e["container"]["image"] for e in specification["deploymentSpec"]["executors"].values()}
    assert images == {"registry.example/steps:1"}
    handled = tasks(specification)["record"]
    assert handled["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("1", "2"):
        compile_pipeline(recipes.load("quickstart"), tmp_path / f"{name}.yaml")
    assert (tmp_path / "1.yaml").read_bytes() == (tmp_path / "2.yaml").read_bytes()


def test_a_changed_threshold_changes_only_the_gates_and_the_record(tmp_path: Path) -> None:
    def inputs(*overrides: str) -> dict[str, Any]:
        (specification,) = compiled(tmp_path, recipes.load("quickstart", list(overrides)))
        return {name: task.get("inputs") for name, task in tasks(specification).items()}

    before, after = inputs(), inputs("gate.min_f1=0.99")
    assert {name for name in before if before[name] != after[name]} == {"gate-trained", "gate-served", "record"}


def test_the_train_step_asks_for_its_resources(tmp_path: Path) -> None:
    overrides = [
        "resources.cpu=8",
        "resources.memory=32G",
        "resources.accelerator={type: nvidia.com/gpu, count: 2}",
        "resources.node_selector={pool: gpu}",
        "resources.tolerations=[{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]",
    ]
    overrides[0] = "resources.cpu='8'"
    specification, platform = compiled(tmp_path, recipes.load("quickstart", overrides))
    resources = specification["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"]
    assert (resources["resourceCpuLimit"], resources["resourceMemoryLimit"]) == ("8", "32G")
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    train = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert train["nodeSelector"]["labels"] == {"pool": "gpu"}
    assert train["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    others = {name for name, e in specification["deploymentSpec"]["executors"].items() if "resources" in e["container"]}
    assert others == {"exec-train"}


def test_compiling_and_serving_never_import_torch() -> None:
    script = """
import sys
import textgate.pipelines.cli, textgate.pipelines.training, textgate.serving
print(sorted({"torch", "transformers", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changed", "steps"),
    [
        ("components/ingest/readers.py", {"ingest"}),
        ("components/preprocess/preprocess.py", {"preprocess"}),
        ("components/families/linear.py", {"train", "evaluate", "merge_quantize", "export_onnx"}),
        ("serving/onnx.py", {"train", "evaluate", "merge_quantize", "export_onnx"}),
        ("components/storage/fetch.py", {"ingest", "train", "evaluate", "merge_quantize"}),
        ("components/step.py", {"ingest", "preprocess", "train", "evaluate", "merge_quantize", "export_onnx"}),
        ("components/gate/rules.py", set()),
        ("pipelines/cli/run.py", set()),
    ],
)
def test_a_change_of_code_changes_the_version_of_the_steps_that_run_it(
    changed: str, steps: set[str], copy: Path
) -> None:
    def versions() -> dict[str, str]:
        script = """
from textgate.pipelines.code_version import _ROOMS, code_version
for step in _ROOMS:
    print(step, code_version(step))
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(copy)}
        )
        return dict(line.split() for line in done.stdout.splitlines())

    before = versions()
    source = copy / "textgate" / changed
    original = source.read_text("utf-8")
    source.write_text(original + "\n# changed\n", "utf-8")
    after = versions()
    source.write_text(original, "utf-8")
    assert {step for step in before if before[step] != after[step]} == steps


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's sources under another folder, which an interpreter with it on its path imports instead."""
    folder = tmp_path_factory.mktemp("copy")
    for room in ("components", "pipelines", "serving"):
        shutil.copytree(ROOT / room, folder / "textgate" / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
