"""A run after an edit of code: only the steps that run the edited code run again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ALWAYS_RUN = {"gate-trained", "gate-served", "promote", "record"}
RUN = "from textgate.pipelines.cli import main; main()"


@pytest.mark.slow
def test_an_edit_of_the_server_the_docs_the_commands_or_another_family_leaves_every_step_cached(
    workspace: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for name in ("__init__.py", "components", "pipelines", "serving", "docs"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / "textgate" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (copy / "textgate").mkdir()
            shutil.copy(source, copy / "textgate" / name)
    assert set(cached_steps(workspace, copy).values()) == {"done"}

    unrelated = [*(copy / "textgate").glob("serving/*.py"), *(copy / "textgate").glob("pipelines/cli/*.py")]
    unrelated += (copy / "textgate").glob("docs/*.md")
    unrelated += (copy / "textgate/components/families").rglob("transformer/**/*.py")
    assert len(unrelated) > 40
    for path in unrelated:
        edit(path)
    assert set(cached_steps(workspace, copy).values()) == {"cached"}

    edit(copy / "textgate/components/families/linear.py")
    outcomes = cached_steps(workspace, copy)
    assert {outcomes[step] for step in ("ingest", "preprocess")} == {"cached"}
    assert {outcomes[step] for step in ("train", "merge-quantize", "export-onnx")} == {"done"}


def edit(path: Path) -> None:
    """Add a statement, not only a comment."""
    with path.open("a", encoding="utf-8") as file:
        file.write("\nEDITED = True\n")


def cached_steps(workspace: Any, copy: Path) -> dict[str, str]:
    """Run the recipe with the code in ``copy``; return the outcome of each step that may be cached."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, "run", "films.yaml", "--json"],
        cwd=workspace.folder,
        env={**workspace.environment, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    return {step["name"]: step["outcome"] for step in steps if step["name"] not in ALWAYS_RUN}
