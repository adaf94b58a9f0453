"""Tests for any Kubeflow Pipelines: a part of ``make test-cluster`` that needs KF_PIPELINES_ENDPOINT.

RECIPE (default quickstart) is submitted as a user would, with the store, the images and the credentials that
``textgate submit`` takes from the environment. The namespace of its pods has the documented overlay already.
"""

import json
import os
import subprocess
import sysconfig
import uuid
from dataclasses import dataclass
from pathlib import Path

import kfp
import pytest

from textgate.components.storage import DEFAULT_BUCKET, Store
from textgate.components.storage.runs import load_decisions

pytestmark = pytest.mark.cluster
TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
_HOUR = 3600
THRESHOLD = "min_f1"
"""Input of the pipeline, and name of the rule."""
UNREACHED = 1.0
"""Threshold that a model of real texts does not reach."""


@dataclass(frozen=True)
class Submitted:
    """A finished run of the recipe."""

    endpoint: str
    recipe: str
    run: str
    verdict: str


@pytest.fixture(scope="module")
def submitted(request: pytest.FixtureRequest) -> Submitted:
    endpoint = os.environ.get("KF_PIPELINES_ENDPOINT")
    if not endpoint:
        pytest.skip("KF_PIPELINES_ENDPOINT names no Kubeflow Pipelines: no pipeline was submitted")
    recipe = os.environ.get("RECIPE", "quickstart")
    seconds = request.config.getoption("--poll-seconds")
    result = json.loads(_run("submit", recipe, "--wait", "--json", f"--poll-seconds={seconds}", "--endpoint", endpoint))
    return Submitted(endpoint, recipe, result["run"], result["verdict"])


def test_the_recipe_is_submitted_and_decided(submitted: Submitted) -> None:
    assert submitted.verdict in ("promote", "reject")


def test_a_clone_with_another_threshold_is_decided_by_it(submitted: Submitted, request: pytest.FixtureRequest) -> None:
    client = kfp.Client(host=submitted.endpoint)
    original = client.get_run(submitted.run)
    parameters = dict(original.runtime_config.parameters)
    assert THRESHOLD in parameters, f"the run has no input for a threshold: {sorted(parameters)}"
    reference = original.pipeline_version_reference
    clone = client.run_pipeline(
        original.experiment_id,
        f"{original.display_name} clone",
        pipeline_id=reference.pipeline_id,
        version_id=reference.pipeline_version_id,
        params={**parameters, THRESHOLD: UNREACHED},
    )
    ended = client.wait_for_run_completion(clone.run_id, _HOUR, request.config.getoption("--poll-seconds"))
    assert ended.state == "SUCCEEDED", ended.error
    store = Store.from_environment(str(parameters.get("bucket", DEFAULT_BUCKET)))
    decisions = load_decisions(store, clone.run_id)
    thresholds = {rule.threshold for decision in decisions for rule in decision.rules if rule.name == THRESHOLD}
    assert thresholds == {UNREACHED}
    assert not all(decision.passed for decision in decisions)


def test_a_schedule_is_created_listed_and_deleted(submitted: Submitted) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    endpoint = ("--endpoint", submitted.endpoint)
    _run("schedule", submitted.recipe, "--cron", "0 3 * * 1", "--name", name, *endpoint)
    try:
        assert name in _run("schedule", "list", *endpoint)
    finally:
        _run("schedule", "delete", name, *endpoint)
    assert name not in _run("schedule", "list", *endpoint)


def test_retraining_is_checked(submitted: Submitted) -> None:
    output = _run("retrain", submitted.recipe, "--dry-run", "--endpoint", submitted.endpoint)
    assert output.strip()


def _run(*arguments: str) -> str:
    process = subprocess.run([TEXTGATE, *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout
