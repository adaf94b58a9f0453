"""Rules of the architecture: which package imports what, what is packaged, and that nothing is pickled."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEPS = {
    *("ingest", "preprocess", "train", "select", "evaluate", "compare", "gate", "check_labels"),
    *("configure", "merge_quantize", "export_onnx", "promote", "record"),
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
    "components/tracking": (
        {*GROUND, "textgate.components.card", "textgate.components.storage"},
        {*HEAVY, "boto3", "onnxruntime"},
    ),
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
                    for package in (
                        *("storage", "sources", "families", "inference", "metrics", "report", "card", "image"),
                        "tracking",
                    )
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


WRITERS = {
    *("write_text", "write_bytes", "copy", "copy2", "copyfile", "copytree", "move", "rename", "link", "symlink_to"),
    *("write_table", "ParquetWriter", "save_file", "save_pretrained", "extractall"),
}
"""Names of functions that write a file or folder under a name of their caller's choice."""
WHOLE = {"new_file", "new_folder", "dataset_writer", "TemporaryDirectory", "shared_temporary_folder"}
"""Context managers in whose body a write goes to a temporary name."""
TEMPORARY = "a temporary folder, or one inside ``new_folder``, that the caller passes"
MEMORY = "no file: memory, a pipe or the kernel"
OTHER_WRITES = {
    "components/contracts/files.py": "the implementation",
    **dict.fromkeys(
        (
            "components/contracts/dataset_output.py",
            "components/contracts/text_keys.py",
            "components/contracts/training_cost.py",
            "components/export_onnx/export_onnx.py",
            "components/export_onnx/onnx_graphs.py",
            "components/export_onnx/target_exporter.py",
            "components/families",
            "components/sources/feedback.py",
            "components/sources/web.py",
            "components/sources/wheels.py",
            "components/train/checkpoints.py",
            "components/train/launch.py",
            "pipelines/in_memory_data.py",
            "pipelines/runners/docker_runner.py",
        ),
        TEMPORARY,
    ),
    "components/storage/embedded_server.py": "a log that another process writes",
    "pipelines/garbage/workspace_garbage.py": "renamed to be removed",
    "serving/spool.py": "an append-only log whose records have checksums",
    "components/storage/runs.py": MEMORY,
    "pipelines/terminal.py": MEMORY,
    "serving/log_objects.py": MEMORY,
}
"""Files and packages that write otherwise, and why nobody takes a part of what they write for the whole."""


def unsafe_writes(source: Path, root: Path = ROOT) -> list[str]:
    """Return a sentence for each write that is not whole: outside ``new_file``, ``new_folder`` and ``write_file``."""
    name = source.relative_to(root).as_posix()
    if any(name == other or name.startswith(f"{other}/") for other in OTHER_WRITES):
        return []
    tree = ast.parse(source.read_text("utf-8"))
    whole = {
        id(inner)
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and any(_called(item.context_expr) in WHOLE for item in block.items)
        for inner in ast.walk(block)
    }
    return [
        f"{name}:{node.lineno} writes with {_called(node)}: use write_file, new_file or new_folder"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and id(node) not in whole and _writes(node)
    ]


def _called(node: ast.expr) -> str:
    """Return the last part of the name that an expression calls; empty if it is no call."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def _writes(node: ast.Call) -> bool:
    name, constants = _called(node), [str(one.value) for one in node.args if isinstance(one, ast.Constant)]
    constants += [str(one.value.value) for one in node.keywords if isinstance(one.value, ast.Constant)]
    if name in ("open", "fdopen"):
        return any(set(mode) & set("wax+") and set(mode) <= set("wax+bt") for mode in constants)
    # Strings are replaced with two arguments, dates and models with keywords, paths with one.
    is_path_replace = name == "replace" and len(node.args) == 1 and not node.keywords
    is_os_replace = name == "replace" and ast.unparse(node.func) == "os.replace"
    is_object_copy = name == "copy" and ast.unparse(node.func) != "shutil.copy"
    return (name in WRITERS and not is_object_copy) or is_path_replace or is_os_replace


@pytest.mark.parametrize("package", ["components", "pipelines", "serving"])
def test_what_others_may_read_appears_whole(package: str) -> None:
    assert [sentence for source in sources(package) for sentence in unsafe_writes(source)] == []


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text(text)",
        "path.open('w', encoding='utf-8')",
        "open(path, mode='xb')",
        "os.rename(partial, path)",
        "partial.replace(path)",
        "os.replace(partial, path)",
        "shutil.copytree(source, target)",
        "pq.write_table(table, path)",
        "with new_folder(path) as folder:\n    pass\nfolder.write_bytes(b'')",
    ],
)
def test_the_rule_catches_a_write_that_is_not_whole(line: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(line)
    assert len(unsafe_writes(tmp_path / "module.py", tmp_path)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "with new_folder(path) as folder:\n    (folder / 'a').write_text('a')",
        "with new_folder(path) as folder, open(path) as file:\n    shutil.copyfile(path, folder / 'a')",
        "text.replace('a', 'b')",
        "date.replace(tzinfo=UTC)",
        "path.open('rb')",
    ],
)
def test_the_rule_lets_whole_writes_pass(line: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(line)
    assert unsafe_writes(tmp_path / "module.py", tmp_path) == []


@pytest.mark.parametrize("name", OTHER_WRITES)
def test_every_exception_still_writes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OTHER_WRITES, name)
    found = [ROOT / name] if name.endswith(".py") else sources(name)
    assert [sentence for source in found for sentence in unsafe_writes(source)]
