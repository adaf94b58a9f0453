"""Outcomes of steps in a local run."""

import io
import threading
from pathlib import Path

import pytest
from kfp import dsl, local

from textgate.components.contracts import MachineError, Source, StoreError
from textgate.components.ingest.ingest import ingest_source
from textgate.components.storage import Store
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.run_log import RunLog


@dsl.component(base_image="unused", install_kfp_package=False)
def first() -> None:
    """Exit with code 0 and no outputs, as a container that kfp.local has lost."""
    import os

    os._exit(0)


@dsl.component(base_image="unused", install_kfp_package=False)
def second() -> None:
    """Succeed."""


@dsl.pipeline(name="two-steps")
def two_steps() -> None:
    """Run the second step after the first."""
    second().after(first())


def test_a_step_without_outputs_has_failed_even_with_exit_code_0(tmp_path: Path, store: Store) -> None:
    log = RunLog(tmp_path, store, Display(io.StringIO()), {})
    with log.capture():
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
        with pytest.raises(RuntimeError, match="first"):
            two_steps()
    log.finish()
    assert [(step.name, step.outcome) for step in log.steps] == [("first", "failed")]


@dsl.component(base_image="unused", install_kfp_package=False)
def loses_store() -> None:
    """End as a step does whose store is gone."""
    from textgate.components.step import StoreError, step_work

    with step_work():
        raise StoreError("the store is gone")


@dsl.pipeline(name="store-gone")
def store_gone() -> None:
    """Run the step that loses its store."""
    loses_store()


def test_a_run_fails_with_the_error_and_the_exit_code_of_its_step(tmp_path: Path, store: Store) -> None:
    log = RunLog(tmp_path, store, Display(io.StringIO()), {})
    with log.capture():
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path), workspace_root=str(tmp_path))
        with pytest.raises(RuntimeError) as raised:
            store_gone()
    log.finish(succeeded=False)
    failure = log.failure(raised.value)
    assert isinstance(failure, StoreError)
    assert (str(failure), failure.exit_code) == ("the store is gone", 4)


@dsl.component(base_image="unused", install_kfp_package=False)
def runs_out_of_memory() -> None:
    """End as Linux ends a process if there is no memory left."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@dsl.pipeline(name="no-memory")
def no_memory() -> None:
    """Run the step that runs out of memory."""
    runs_out_of_memory()


def test_a_step_that_was_killed_is_no_failure_of_the_step(tmp_path: Path, store: Store) -> None:
    log = RunLog(tmp_path, store, Display(io.StringIO()), {})
    with log.capture():
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
        with pytest.raises(RuntimeError) as raised:
            no_memory()
    log.finish(succeeded=False)
    failure = log.failure(raised.value)
    assert isinstance(failure, MachineError)
    assert str(failure).startswith("step runs-out-of-memory was killed (SIGKILL), as Linux does when memory runs out: ")


@dsl.pipeline(name="four-steps")
def four_steps() -> None:
    """Run four steps that succeed."""
    for _ in range(4):
        second()


class _LostStore:
    """Store that goes away after the last step; it counts the uploads that are tried."""

    def __init__(self) -> None:
        self.ended, self.tried = threading.Event(), 0

    def upload_folder(self, folder: Path, prefix: str) -> None:
        self.tried += 1
        self.ended.wait()
        raise StoreError("the store does not answer")


def test_a_run_whose_store_is_lost_does_not_wait_for_it_once_per_step(tmp_path: Path) -> None:
    store = _LostStore()
    log = RunLog(tmp_path, store, Display(io.StringIO()), {})  # type: ignore[arg-type]
    with log.capture():
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path), workspace_root=str(tmp_path))
        four_steps()
    store.ended.set()
    with pytest.raises(StoreError, match="the store does not answer"):
        log.finish()
    assert store.tried == 1


@dsl.component(base_image="unused", install_kfp_package=False)
def warns() -> int:
    """Print a warning and another line."""
    print("textgate warning: about a label")
    print("another line")
    return 1


@dsl.pipeline(name="one-step")
def one_step() -> int:
    """Run the step that warns."""
    return warns().output


def test_a_warning_of_a_step_is_shown_while_it_runs(tmp_path: Path, store: Store) -> None:
    shown = io.StringIO()
    log = RunLog(tmp_path, store, Display(shown), {})
    with log.capture():
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
        one_step()
    log.finish()
    lines = shown.getvalue().splitlines()
    assert lines[:2] == ["warns: started", "warns: warning: about a label"]
    assert "another line" not in shown.getvalue()


def test_the_log_holds_no_characters_that_control_a_terminal(tmp_path: Path, store: Store) -> None:
    log = RunLog(tmp_path, store, Display(io.StringIO()), {})
    log.task_started("two-steps-1/task", "first", tmp_path)
    log.write("\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07 \x9b \u202e é\n")
    log.finish()
    assert (log.folder / "log.txt").read_text("utf-8") == "red \\x1b[2J\\x1b]0;title\\x07 \\u009b \\u202e é\n\n"


def test_the_rows_of_a_dataset_are_accounted_for_also_if_its_step_is_cached(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,spam\nb,Spam\nc,ham\n,ham\n")
    ingest_source(Source(uri=str(tmp_path / "a.csv")), tmp_path / "raw", tmp_path / "downloads")
    shown = io.StringIO()
    log = RunLog(tmp_path, store, Display(shown), {})
    log.task_started("films-1", "ingest", tmp_path)
    log.task_ended({"dataset": dsl.Dataset(uri=str(tmp_path / "raw"))}, succeeded=True)
    log.finish()
    account, reason, warning, end = shown.getvalue().splitlines()
    assert account == "ingest: 4 rows in, 3 kept, 1 rejected"
    assert reason == "ingest: 1 empty text ('ham' 1 of 2 (50.0%); such as a.csv:4)"
    assert warning.startswith("ingest: warning: labels that differ in nothing but case")
    assert end == "ingest: cached"
