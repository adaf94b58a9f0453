"""Artifacts between the steps of a local run: damage in the cache is a miss, damage within a run stops it."""

import io
from pathlib import Path

import pytest
from kfp import dsl, local

from textgate.components.contracts import InputError
from textgate.components.storage import Store
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.run_log import RunLog


@dsl.component(base_image="unused", install_kfp_package=False)
def write(words: str, written: dsl.Output[dsl.Artifact]) -> float:
    """Write an artifact of two files."""
    from textgate.components.step import step_work

    with step_work(outputs=[written]):
        from pathlib import Path

        for name in ("a.txt", "b.txt"):
            Path(written.path, name).parent.mkdir(exist_ok=True)
            Path(written.path, name).write_text(words)
        return 0.899


@dsl.component(base_image="unused", install_kfp_package=False)
def change(given: dsl.Input[dsl.Artifact], words: str) -> str:
    """Change a file of the input."""
    from textgate.components.step import step_work

    with step_work(inputs=[given]):
        from pathlib import Path

        if words:
            Path(given.path, "b.txt").write_text(words)
        return words


@dsl.component(base_image="unused", install_kfp_package=False)
def read(given: dsl.Input[dsl.Artifact], after: str, score: float) -> str:
    """Return a file of the input, and the score."""
    from textgate.components.step import step_work

    with step_work(inputs=[given]):
        from pathlib import Path

        return f"{Path(given.path, 'b.txt').read_text()} {score}"


@dsl.pipeline(name="three-steps")
def three_steps(words: str) -> str:
    """Write an artifact, perhaps change it, and read it."""
    written = write(words="unchanged")
    changed = change(given=written.outputs["written"], words=words).set_caching_options(False)
    task = read(given=written.outputs["written"], after=changed.output, score=written.outputs["Output"])
    return task.set_caching_options(False).output


class Runs:
    """Runs of the pipeline in one workspace."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.shown = io.StringIO()

    def run(self, words: str = "") -> tuple[RunLog, Exception | None]:
        self.shown = io.StringIO()
        log = RunLog(self.folder / "runs", self.store, Display(self.shown), {})
        failure = None
        try:
            with log.capture():
                local.init(
                    local.SubprocessRunner(use_venv=False),
                    pipeline_root=str(self.folder / "runs"),
                    enable_caching=True,
                    cache_root=str(self.folder / "cache"),
                )
                three_steps(words=words)
        except RuntimeError as error:
            failure = log.failure(error)
        log.finish()
        return log, failure

    @property
    def entry(self) -> Path:
        (entry,) = (self.folder / "cache").glob("*.json")
        return entry


@pytest.fixture
def runs(tmp_path: Path, store: Store) -> Runs:
    return Runs(tmp_path, store)


def outcomes(log: RunLog) -> dict[str, str]:
    return {step.name: step.outcome for step in log.steps}


def test_a_damaged_artifact_or_entry_is_named_and_made_again(runs: Runs) -> None:
    first, _ = runs.run()
    second, _ = runs.run()
    assert outcomes(second)["write"] == "cached"

    file = first.folder / "write" / "written" / "b.txt"
    file.write_text("plausible")
    third, _ = runs.run()
    assert outcomes(third)["write"] == "done"
    assert f"write: warning: it runs again, because the cached {file} was changed" in runs.shown.getvalue().splitlines()
    assert f"it runs again, because the cached {file} was changed\n" in (third.folder / "log.txt").read_text("utf-8")

    # A score that KFP passes by value is in the entry only.
    runs.entry.write_bytes(runs.entry.read_bytes().replace(b"0.899", b"0.999"))
    fourth, _ = runs.run()
    assert f"write: warning: it runs again, because its cache entry {runs.entry} was changed" in runs.shown.getvalue()
    for log in (first, second, third, fourth):
        assert log.outputs["read"] == {"Output": "unchanged 0.899"}
    assert outcomes(fourth)["write"] == "done"


def test_an_artifact_that_changes_within_a_run_stops_it(runs: Runs) -> None:
    log, failure = runs.run(words="changed")
    assert outcomes(log) == {"write": "done", "change": "done", "read": "failed"}
    file = log.folder / "write" / "written" / "b.txt"
    assert isinstance(failure, InputError)
    assert str(failure).startswith(f"an artifact is not as its step wrote it: {file} was changed; run again")
