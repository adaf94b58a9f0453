"""``make test-cluster`` against a server that plays a cluster, and without any cluster."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.fake_cluster import KINDS, TRAINER, FakeCluster, RefusedError, serving
from docs.markdown import ROOT
from pipelines.cluster_workspace import RECIPE, decision
from pipelines.kfp_server import KfpServer, Plan
from pipelines.kfp_server import serve as pipelines_server

from textgate.components.record.record import record_run
from textgate.components.storage import Store
from textgate.components.storage.runs import save_decision

RUN = ROOT / "tests/cluster/run.py"
Logs = Callable[[str], tuple[list[str], bool]]


def _logs(failed: int = 0) -> Logs:
    """Return the logs of pods of a cluster where everything works, except for ``failed`` requests to the endpoint."""
    answered = itertools.count(100, 100)

    def logs(command: str) -> tuple[list[str], bool]:
        if "load.py" in command:
            number = next(answered)
            counts = {"http": number, "grpc": number, "failed": failed, "failures": ["http: 503"][:failed]}
            return [json.dumps(counts)], True
        if "train-no-rights" in command:
            return [NO_RIGHTS], False
        if "follow.py" in command:
            return ["created the TrainJob train-on-two on 2 nodes", "node 0", "node 1: node 1"], True
        if "textgate retrain" in command:
            return [NO_PIPELINES], False
        return ["promote"], True

    return logs


NO_RIGHTS = (
    "textgate error: the service account NAMESPACE/default may not get pods no-rights-1 in the namespace NAMESPACE: "
    "bind a Role with the rule {}"
)


NO_PIPELINES = "Error: the cluster http://ml-pipeline.kubeflow:8888 cannot be reached"


def _environment(kubeconfig: Path | None) -> dict[str, str]:
    names = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return names | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}) | {"PYTHONDONTWRITEBYTECODE": "1"}


def _run(kubeconfig: Path | None, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), "-p", "no:cacheprovider", *arguments]
    env = _environment(kubeconfig) | settings
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)


def test_all_tests_pass_and_everything_is_removed(tmp_path: Path) -> None:
    cluster = FakeCluster(_logs())
    with serving(cluster, tmp_path) as kubeconfig:
        process = _run(kubeconfig, f"--basetemp={tmp_path / 'basetemp'}")
    assert process.returncode == 0, process.stdout
    assert re.search(r"\d+ passed", process.stdout)
    assert "KF_PIPELINES_ENDPOINT names no Kubeflow Pipelines: no pipeline was submitted" in process.stdout
    assert "no CRD" not in process.stdout
    assert cluster.objects == {}
    # The manifests are the documented ones, each in the namespace of the test.
    names = {f"{one['kind']}/{one['metadata']['name']}" for one in cluster.applied}
    assert {"Deployment/textgate-serving", "CronJob/textgate-retrain", "ConfigMap/kfp-launcher"} <= names
    assert len({one["metadata"]["namespace"] for one in cluster.applied}) == 1
    asked = " ".join(cluster.requests)
    for part in ("/eviction", "/log", "subjectaccessreviews", "/jobs", "/trainjobs", "DELETE /api/v1/namespaces/"):
        assert part in asked
    written = [one for one in cluster.requests if not one.startswith("GET")]
    others = ("/api/v1/namespaces", "/apis/authorization.k8s.io/v1/subjectaccessreviews")
    assert all("/namespaces/textgate-test-" in one or one.endswith(others) for one in written)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cluster", "failed", "reason"),
    [
        (FakeCluster(_logs(failed=1)), ("rolling_update", "eviction"), "http: 503"),
        (
            FakeCluster(_logs(), refusals={"PATCH /apis/batch/v1": RefusedError(403, "cronjobs is forbidden")}),
            ("rolling_update",),
            "kubectl apply: .*cronjobs is forbidden",
        ),
        (FakeCluster(_logs(), refusals={"/eviction": RefusedError(500, "broken")}), ("eviction",), "broken"),
    ],
    ids=["a failed request", "a refused manifest", "a refused eviction"],
)
def test_a_failure_is_reported_and_everything_is_removed(
    cluster: FakeCluster, failed: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    with serving(cluster, tmp_path) as kubeconfig:
        process = _run(kubeconfig, f"--basetemp={tmp_path / 'basetemp'}", "-k", " or ".join(failed))
    assert process.returncode == 1, process.stdout
    assert process.stdout.count("FAILED") + process.stdout.count("ERROR") >= len(failed)
    assert re.search(reason, process.stdout)
    assert cluster.objects == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_everything(number: int, tmp_path: Path) -> None:
    # The endpoint never answers, so the test waits in its middle.
    cluster = FakeCluster(lambda command: ([], True))
    with serving(cluster, tmp_path) as kubeconfig:
        command = [sys.executable, str(RUN), "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'basetemp'}"]
        process = subprocess.Popen(command, env=_environment(kubeconfig), cwd=ROOT, stdout=subprocess.DEVNULL)
        cluster.log_read.wait(200)
        assert cluster.objects
        process.send_signal(number)
        assert process.wait(200) == pytest.ExitCode.INTERRUPTED
    assert cluster.objects == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cluster", "sentence"),
    [
        (
            FakeCluster(_logs(), controlled=False),
            "the CRD of Kubeflow Trainer has no controller here: the TrainJob was accepted, and not run",
        ),
        (
            FakeCluster(_logs(), {version: kinds for version, kinds in KINDS.items() if version != TRAINER}),
            "the cluster has no CRD of Kubeflow Trainer: no TrainJob was created",
        ),
    ],
    ids=["no controller", "no CRD"],
)
def test_what_a_cluster_lacks_is_said(cluster: FakeCluster, sentence: str, tmp_path: Path) -> None:
    with serving(cluster, tmp_path) as kubeconfig:
        options = ("-s", "--controller-seconds=0.1", "-k", "train_job")
        process = _run(kubeconfig, f"--basetemp={tmp_path / 'basetemp'}", *options)
    assert process.returncode == 0, process.stdout
    assert sentence in process.stdout
    assert cluster.objects == {}


@pytest.mark.slow
def test_pipelines_are_submitted_cloned_scheduled_and_retrained(store: Store, tmp_path: Path) -> None:
    store.put("films.csv", b"text,label\na fine film,good\na dull film,bad\n")
    (tmp_path / "films.yaml").write_text(RECIPE.replace("BUCKET", store.bucket))

    def end(run: str, parameters: dict[str, Any]) -> None:
        passed = parameters["min_f1"] <= 0.91
        judged = decision(passed)
        (rule,) = judged.rules
        rules = [rule.model_copy(update={"threshold": parameters["min_f1"]})]
        save_decision(store, run, judged.model_copy(update={"rules": rules}))
        record_run(store, run, {"model": "films"}, parameters["source_version"], "SUCCEEDED", None)

    pipelines = KfpServer(plan=Plan(before=end))
    server = pipelines_server(pipelines)
    settings = {
        "KF_PIPELINES_ENDPOINT": pipelines.address,
        "RECIPE": str(tmp_path / "films.yaml"),
        "TEXTGATE_BUCKET": store.bucket,
    }
    try:
        with serving(FakeCluster(_logs()), tmp_path) as kubeconfig:
            options = (f"--basetemp={tmp_path / 'basetemp'}", "--poll-seconds=0.01", "-k", "test_any_pipelines")
            process = _run(kubeconfig, *options, **settings)
    finally:
        server.shutdown()
        server.server_close()
    assert process.returncode == 0, process.stdout
    assert [run["runtime_config"]["parameters"]["min_f1"] for run in pipelines.runs.values()] == [0.8, 1.0]
    assert not pipelines.recurring


def test_without_a_cluster_one_sentence_says_what_it_needs(tmp_path: Path) -> None:
    for kubeconfig, reason in ((None, "it is not set"), (tmp_path / "none", "does not lead to one")):
        process = _run(kubeconfig)
        assert (process.returncode, process.stdout) == (2, "")
        (line,) = process.stderr.splitlines()
        assert line.startswith("make test-cluster needs KUBECONFIG, the path of a configuration of kubectl")
        assert reason in line


def test_make_runs_it() -> None:
    command = ["make", "-n", "--no-print-directory", "-o", ".venv/.installed", "test-cluster"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.split() == [".venv/bin/python", "tests/cluster/run.py"]
