"""The installed command in a workspace of its own, with the session's store."""

import json
import os
import random
import subprocess
import sysconfig
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from textgate.components.storage import Store

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")

RECIPE = """
name: films
description: made-up film reviews
model: films
source: {uri: films.csv, labels: {"0": bad, "1": good}}
train: {family: linear, min_df: 1}
gate: {min_f1: 0.8}
"""


@dataclass(frozen=True)
class Workspace:
    """A folder with a recipe and its data, and a bucket for one test."""

    folder: Path
    store: Store
    environment: dict[str, str]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``textgate`` with these arguments."""
        settings = {**self.environment, **environment}
        return subprocess.run(
            [TEXTGATE, *arguments],
            cwd=self.folder,
            env=settings,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def run_json(self, *arguments: str, **environment: str) -> Any:
        """Run ``textgate … --json``, which must succeed; return the parsed output."""
        done = self.run(*arguments, "--json", **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def registry(self) -> dict[str, bytes]:
        """Return every object of the registry by its key."""
        return {item.key: self.store.get(item.key).data for item in self.store.objects("models/")}  # type: ignore[union-attr]


def write_films(path: Path, rows: int = 300, wrong: int = 0) -> None:
    """Write reviews that a bag of words separates, except for the first ``wrong`` ones."""
    rng = random.Random(13)
    lines = []
    for index in range(rows):
        label = index % 2
        sentiment = label if index >= wrong else 1 - label
        words = rng.sample([f"word{n}" for n in range(150)], 6)
        lines.append(f"{' '.join(words)} {'good' if sentiment else 'bad'},{label}")
    path.write_text("\n".join(["text,label", *lines]) + "\n")


@pytest.fixture
def workspace(tmp_path: Path, store_environment: dict[str, str]) -> Workspace:
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TEXTGATE_"))}
    environment = {**inherited, **store_environment, "TEXTGATE_BUCKET": bucket}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store_environment.items():
            patch.setenv(name, value)
        store = Store.from_environment(bucket)
    store.ensure_bucket()
    (tmp_path / "films.yaml").write_text(RECIPE)
    write_films(tmp_path / "films.csv", wrong=24)
    return Workspace(tmp_path, store, environment)
