"""What a run makes of how its steps end."""

import io
from pathlib import Path

import pytest
from kfp import dsl, local

from textgate.components.storage import Store
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.run_log import RunLog


@dsl.component(base_image="unused", install_kfp_package=False)
def first() -> None:
    """End without a word, as a container that kfp.local lost sight of."""
    import os

    os._exit(0)


@dsl.component(base_image="unused", install_kfp_package=False)
def second() -> None:
    """Work."""


@dsl.pipeline(name="two-steps")
def two_steps() -> None:
    """The second waits for the first."""
    second().after(first())


def test_a_step_that_did_not_come_to_its_end_has_failed_whatever_its_exit_code(tmp_path: Path, store: Store) -> None:
    log = RunLog(tmp_path, store, Display(io.StringIO()), {})
    with log.capture():
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
        with pytest.raises(RuntimeError, match="first"):
            two_steps()
    log.finish()
    assert [(step.name, step.outcome) for step in log.steps] == [("first", "failed")]
