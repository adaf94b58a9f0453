"""Checksums of artifacts: damage is found and named, and every component has its artifacts checked."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from textgate.components.checksums import damage, has_checksums, record_checksums

ROOT = Path(__file__).parents[1]


@dataclass
class Artifact:
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"s3://bucket/run/{Path(self.path).name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "evaluation"
    (folder / "train").mkdir(parents=True)
    (folder / "evaluation.json").write_text('{"f1": 0.899}')
    (folder / "train" / "part 0.parquet").write_bytes(b"rows")
    return folder


def recorded(path: Path) -> Artifact:
    artifact = Artifact(str(path))
    record_checksums(artifact)
    return Artifact(str(path), json.loads(json.dumps(artifact.metadata)))


def flip(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: flip(folder / "evaluation.json"), "evaluation.json was changed"),
        (lambda folder: (folder / "train" / "part 0.parquet").write_bytes(b"row"), "train/part 0.parquet was changed"),
        (lambda folder: (folder / "train" / "part 0.parquet").write_bytes(b""), "train/part 0.parquet was changed"),
        (lambda folder: (folder / "evaluation.json").unlink(), "evaluation.json is missing"),
        (lambda folder: (folder / "more.json").touch(), "more.json was added"),
        (lambda folder: (folder / "evaluation.json").rename(folder / "evaluations.json"), "evaluation.json is missing"),
    ],
    ids=["bit", "truncated", "emptied", "missing", "added", "renamed"],
)
def test_the_file_that_changed_is_named(folder: Path, change: Callable[[Path], None], message: str) -> None:
    artifact = recorded(folder)
    assert damage(artifact) == ""
    change(folder)
    assert damage(artifact) == f"s3://bucket/run/evaluation/{message}"


def test_an_artifact_that_is_one_file_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "measurements").write_text("fast")
    artifact = recorded(tmp_path / "measurements")
    assert damage(artifact) == ""
    flip(tmp_path / "measurements")
    assert damage(artifact) == "s3://bucket/run/measurements was changed"
    (tmp_path / "measurements").unlink()
    assert damage(artifact) == "s3://bucket/run/measurements is missing"


def test_the_digest_covers_all_digits_of_every_file(folder: Path) -> None:
    artifact = recorded(folder)
    lines = artifact.metadata["files"]
    flip(folder / "evaluation.json")
    artifact.metadata["files"] = recorded(folder).metadata["files"]
    assert artifact.metadata["files"] != lines
    assert damage(artifact) == "s3://bucket/run/evaluation was changed"


def test_an_artifact_that_a_step_does_not_write_and_one_of_another_library_are_undamaged(tmp_path: Path) -> None:
    assert damage(recorded(tmp_path / "absent")) == ""
    foreign = Artifact(str(tmp_path / "absent"), {"framework": "other"})
    assert damage(foreign) == ""
    assert not has_checksums(foreign)


def test_the_metadata_of_a_large_sweep_fit_in_one_argument(tmp_path: Path) -> None:
    for index in range(20):
        (tmp_path / f"special_tokens_map-{index}.json").write_text("{}")
    models = [recorded(tmp_path).metadata] * 64
    assert len(json.dumps(models)) < 128 * 1024 * 0.75


def components() -> list[tuple[Path, ast.FunctionDef]]:
    files = [*(ROOT / "components").glob("*/component.py"), ROOT / "pipelines" / "comparison.py"]
    functions = [(file, node) for file in files for node in ast.parse(file.read_text("utf-8")).body]
    return [
        (file, node)
        for file, node in functions
        if isinstance(node, ast.FunctionDef)
        and any("component" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


@pytest.mark.parametrize(("file", "component"), components(), ids=lambda value: getattr(value, "name", ""))
def test_every_component_has_all_its_artifacts_checked(file: Path, component: ast.FunctionDef) -> None:
    annotations = {argument.arg: ast.unparse(argument.annotation) for argument in component.args.args}  # type: ignore[arg-type]
    (work,) = [node.items[0].context_expr for node in component.body if isinstance(node, ast.With)]
    assert isinstance(work, ast.Call)
    assert ast.unparse(work.func) == "step_work"
    checked = {
        keyword.arg: {node.id for node in ast.walk(keyword.value) if isinstance(node, ast.Name)}
        for keyword in work.keywords
    }
    for keyword, marker in (("inputs", "dsl.Input["), ("outputs", "dsl.Output[")):
        artifacts = {name for name, annotation in annotations.items() if annotation.startswith(marker)}
        assert checked.get(keyword, set()) == artifacts, f"{file}: {component.name}"
