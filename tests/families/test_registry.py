"""The registry of families: mypy checks a family's module against the protocol."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAMILY = """
from pathlib import Path
from typing import Any
from textgate.components.contracts import Dataset, LinearRuntime, ModelBundle, TransformersRuntime
from textgate.components.families import FitResult, TrainingContext
from textgate.components.inference import Predictor, load_bundle

def fit(dataset: Dataset, training: Any, folder: Path, context: TrainingContext) -> FitResult:
    return FitResult(LinearRuntime(ngrams=(1, 1), sublinear=True), {})

def predictor(folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
    return load_bundle(folder)

def merge(
    folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    return None
"""
LOADER = """
import new_family
from textgate.components.families import Family

def load() -> Family:
    return new_family
"""


ERROR = 'Incompatible return value type (got Module, expected "Family")'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "accepted"),
    [
        ("", "", True),
        (", context: TrainingContext", "", False),
        ("-> Predictor:", "-> Path:", False),
        ("def merge(", "def merge_(", False),
    ],
    ids=["complete", "missing argument", "wrong result", "missing function"],
)
def test_mypy_rejects_a_family_that_breaks_the_protocol(
    old: str, new: str, accepted: bool, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "new_family.py").write_text(FAMILY.replace(old, new))
    (tmp_path / "loader.py").write_text(LOADER)
    cache = tmp_path_factory.getbasetemp() / "mypy"
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
    process = subprocess.run([*command, "loader.py"], cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in process.stdout.splitlines() if line.startswith("loader.py") and ": error:" in line]
    if accepted:
        assert errors == [], process.stdout + process.stderr
    else:
        assert len(errors) == 1, process.stdout + process.stderr
        assert ERROR in errors[0]
