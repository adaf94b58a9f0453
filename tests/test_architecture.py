"""The architecture holds: which package imports what, what is packaged, and that nothing is pickled."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = {
    *("ingest", "preprocess", "train", "select", "evaluate", "compare", "gate"),
    *("merge_quantize", "export_onnx", "promote", "record"),
}
GROUND = {"textgate.components.step", "textgate.components.version", "textgate.components.contracts"}
HEAVY = {"torch", "transformers", "kfp", "peft"}

# Package: prefixes of textgate it may import besides itself, third-party packages it must not import.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "components/contracts": ({"textgate.components.step"}, {*HEAVY, "boto3", "sklearn", "onnxruntime", "tokenizers"}),
    "components/storage": (GROUND, HEAVY),
    "components/sources": ({*GROUND, "textgate.components.storage"}, {*HEAVY, "boto3"}),
    "components/metrics": (GROUND, {*HEAVY, "boto3", "onnxruntime"}),
    "components/report": ({*GROUND, "textgate.components.metrics"}, {*HEAVY, "boto3", "onnxruntime"}),
    "components/card": ({*GROUND, "textgate.components.metrics"}, {*HEAVY, "boto3", "onnxruntime"}),
    "components/inference": ({*GROUND, "textgate.components.metrics"}, {*HEAVY, "boto3", "sklearn", "onnx"}),
    "components/families": (
        {*GROUND, "textgate.components.metrics", "textgate.components.inference"},
        {"kfp", "boto3"},
    ),
    **{
        f"components/{step}": (
            {
                *GROUND,
                *(
                    f"textgate.components.{room}"
                    for room in ("storage", "sources", "families", "inference", "metrics", "report", "card", "image")
                ),
            },
            {"kfp"},
        )
        for step in STEPS
    },
    "serving": ({*GROUND, "textgate.components.storage", "textgate.components.inference"}, {*HEAVY, "sklearn", "onnx"}),
    "pipelines": ({"textgate"}, {"transformers", "peft"}),
}


def imports(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: a relative import hides which room it enters"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(room: str, source: Path, root: Path = ROOT) -> list[str]:
    allowed, forbidden = RULES[room]
    own = "textgate." + room.replace("/", ".")
    found = []
    for name in imports(source):
        top = name.split(".")[0]
        inside = top == "textgate" and not any(name == p or name.startswith(f"{p}.") for p in {own, *allowed})
        outside = top in forbidden and not (top == "kfp" and source.name == "component.py")
        if inside or outside:
            found.append(f"{source.relative_to(root)} may not import {name}")
    return found


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", sorted(RULES))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert sources(room)
    assert [line for source in sources(room) for line in violations(room, source)] == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("components/ingest", "from textgate.components.train.train import train_bundle"),
        ("components/ingest", "import kfp"),
        ("components/storage", "import torch"),
        ("components/storage", "from textgate.components.sources import fetch"),
        ("components/families", "from textgate.components.sources import fetch"),
        ("serving", "from textgate.components.sources import fetch"),
        ("components/contracts", "from textgate.components.storage import Store"),
        ("components/families", "from textgate.pipelines import recipes"),
        ("components/evaluate", "from textgate.serving.endpoint import Endpoint"),
        ("components/inference", "import torch"),
        ("serving", "def f() -> None:\n    from transformers import pipeline"),
        ("serving", "from textgate.components.families import FAMILIES"),
    ],
)
def test_the_rule_catches_an_import_it_forbids(room: str, line: str, tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(line)
    assert len(violations(room, source, tmp_path)) == 1


def test_every_room_has_a_rule() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "components").glob("*/__init__.py")}
    assert folders == {room for room in RULES if room.startswith("components/")}


def test_only_families_know_families() -> None:
    for source in [*sources("components"), *sources("pipelines"), *sources("serving")]:
        if "families" not in source.parts:
            compares = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Compare)]
            assert not any("family ==" in ast.unparse(node) for node in compares), source


def test_nothing_is_pickled() -> None:
    for source in [*sources("components"), *sources("pipelines"), *sources("serving")]:
        assert {name.split(".")[0] for name in imports(source)}.isdisjoint({"pickle", "joblib", "dill", "shelve"}), (
            source
        )


def test_every_folder_with_sources_is_a_package() -> None:
    for room in ("components", "pipelines", "serving"):
        for source in (ROOT / room).rglob("*.py"):
            assert (source.parent / "__init__.py").exists(), f"{source.parent} would be left out of the wheel"


@pytest.mark.parametrize(
    "path", [path for room in ("components", "pipelines", "serving") for path in sources(room)], ids=str
)
def test_a_file_is_one_room(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 320
