"""Rules of the architecture: which package imports what, what is packaged, and that nothing is pickled."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = {
    *("ingest", "preprocess", "train", "select", "evaluate", "compare", "gate", "check_labels"),
    *("merge_quantize", "export_onnx", "promote", "record"),
}
GROUND = {
    *("textgate.components.redaction", "textgate.components.step", "textgate.components.machine_errors"),
    *("textgate.components.version", "textgate.components.contracts"),
}
"""Modules that every package except contracts may import."""
HEAVY = {"torch", "transformers", "kfp", "peft"}

RULES: dict[str, tuple[set[str], set[str]]] = {
    "components/contracts": (
        {"textgate.components.redaction", "textgate.components.step"},
        {*HEAVY, "boto3", "sklearn", "onnxruntime", "tokenizers"},
    ),
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
                    f"textgate.components.{package}"
                    for package in ("storage", "sources", "families", "inference", "metrics", "report", "card", "image")
                ),
            },
            {"kfp"},
        )
        for step in STEPS
    },
    "serving": ({*GROUND, "textgate.components.storage", "textgate.components.inference"}, {*HEAVY, "sklearn", "onnx"}),
    "pipelines": ({"textgate"}, {"transformers", "peft"}),
}
"""By package: what it may import of textgate besides itself, and third-party packages that it must not import."""


def imports(source: Path) -> Iterator[str]:
    """Yield the dotted names that a source file imports, anywhere in it."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: a relative import hides which package it enters"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(package: str, source: Path, root: Path = ROOT) -> list[str]:
    """Return a sentence for each import that the rule of the package forbids."""
    allowed, forbidden = RULES[package]
    own = "textgate." + package.replace("/", ".")
    sentences = []
    for name in imports(source):
        top = name.split(".")[0]
        internal = top == "textgate" and not any(name == p or name.startswith(f"{p}.") for p in {own, *allowed})
        external = top in forbidden and not (top == "kfp" and source.name == "component.py")
        if internal or external:
            sentences.append(f"{source.relative_to(root)} may not import {name}")
    return sentences


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


PRODUCT = [path for folder in ("components", "pipelines", "serving") for path in sources(folder)]


@pytest.mark.parametrize("package", sorted(RULES))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    assert sources(package)
    assert [sentence for source in sources(package) for sentence in violations(package, source)] == []


@pytest.mark.parametrize(
    ("package", "line"),
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
        ("serving", "from textgate.pipelines.workspace import open_store"),
        ("components/inference", "import torch"),
        ("serving", "def f() -> None:\n    from transformers import pipeline"),
        ("serving", "from textgate.components.families import FAMILIES"),
    ],
)
def test_the_rule_catches_an_import_it_forbids(package: str, line: str, tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(line)
    assert len(violations(package, source, tmp_path)) == 1


def test_every_package_has_a_rule() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "components").glob("*/__init__.py")}
    assert folders == {package for package in RULES if package.startswith("components/")}


@pytest.mark.parametrize("path", sorted((ROOT / "components").glob("*.py")), ids=lambda path: path.name)
def test_a_module_outside_the_packages_imports_no_package(path: Path) -> None:
    modules = {f"textgate.components.{module.stem}" for module in (ROOT / "components").glob("*.py")}
    for name in imports(path):
        assert name.split(".")[0] not in {*HEAVY, "boto3", "onnxruntime"}, name
        assert not name.startswith("textgate.") or name.rpartition(".")[0] in modules, name


def test_components_and_server_never_import_the_pipelines() -> None:
    for source in [*sources("components"), *sources("serving")]:
        assert not [name for name in imports(source) if name.startswith("textgate.pipelines")], source


def test_the_root_package_imports_only_its_version() -> None:
    root = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    typing_only = [node for node in root.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    modules = set()
    for node in ast.walk(ast.Module([node for node in root.body if node not in typing_only], [])):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module))
    assert modules == {"importlib", "typing", "textgate.components.version"}
    assert [*imports(ROOT / "components" / "version.py")] == []


def test_only_families_compare_family_names() -> None:
    for source in PRODUCT:
        if "families" not in source.parts:
            compares = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Compare)]
            assert not any("family ==" in ast.unparse(node) for node in compares), source


def test_nothing_is_pickled() -> None:
    for source in PRODUCT:
        modules = {name.split(".")[0] for name in imports(source)}
        assert modules.isdisjoint({"pickle", "joblib", "dill", "shelve"}), source


def test_every_console_escapes_control_characters() -> None:
    importing = {source.relative_to(ROOT) for source in PRODUCT if "rich.console.Console" in imports(source)}
    assert importing == set()
    assert "rich.console" in imports(ROOT / "pipelines/terminal.py")


def test_every_folder_with_sources_is_a_package() -> None:
    for source in PRODUCT:
        assert (source.parent / "__init__.py").exists(), f"{source.parent} would be missing from the wheel"


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_enough_to_read_in_one_go(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 320
