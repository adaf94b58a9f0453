"""Outcomes of steps in a local run."""

import io
from pathlib import Path

import pytest
from kfp import dsl, local

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
