"""The patches of kfp.local: the version they are written for, and that nothing stays patched."""

from importlib.metadata import version

import pytest
from kfp.local import logging_utils
from kfp.local.orchestrator import task_executor

from textgate.components.contracts import InputError
from textgate.pipelines.runners import kfp_local_patches
from textgate.pipelines.runners.kfp_local_patches import KFP_VERSION, observed
from textgate.pipelines.runners.run_log import RunLog

PATCHED = ((task_executor, "execute_single_task"), (logging_utils, "indented_print"))


def test_the_patches_are_written_for_the_installed_version() -> None:
    assert version("kfp") == KFP_VERSION


def test_another_version_of_kfp_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kfp_local_patches, "version", lambda package: "2.18.0")
    originals = [getattr(owner, name) for owner, name in PATCHED]
    with (
        pytest.raises(InputError, match=r"kfp 2\.18\.0 is installed, .* needs kfp 2\.17\.0") as raised,
        observed(RunLog.__new__(RunLog)),
    ):
        pytest.fail("the pipeline would have run")
    assert "\n" not in str(raised.value)
    assert [getattr(owner, name) for owner, name in PATCHED] == originals


def test_kfp_is_patched_only_while_a_pipeline_runs() -> None:
    originals = [getattr(owner, name) for owner, name in PATCHED]
    with pytest.raises(RuntimeError), observed(RunLog.__new__(RunLog)):
        assert [getattr(owner, name) for owner, name in PATCHED] != originals
        raise RuntimeError
    assert [getattr(owner, name) for owner, name in PATCHED] == originals
