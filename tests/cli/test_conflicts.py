"""Commands that meet another process at the same thing end with exit code 5."""

from pathlib import Path

import pytest
from cli.in_process import run
from filelock import FileLock

from textgate.components.storage import Store

RECIPE = """
name: films
description: made-up film reviews
model: films
source: {uri: films.csv}
train: {family: linear}
gate: {min_f1: 0.8}
"""


def test_a_run_of_a_recipe_that_is_running_in_the_workspace_is_a_conflict(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films.yaml").write_text(RECIPE)
    (tmp_path / "films.csv").write_text("text,label\ngood,1\nbad,0\n")
    (tmp_path / "ws" / "runs").mkdir(parents=True)
    with FileLock(tmp_path / "ws" / "runs" / ".films.lock"):
        result = run("run", "films.yaml", "--workspace", "ws", "--bucket", store.bucket)
    assert result.exit_code == 5, result.output
    assert "Error: a run of films is under way in this workspace: wait for it" in result.stderr
