"""Each request that the Kubernetes API refuses, or does not answer, is one sentence of the step of a TrainJob."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from train.cluster import ACCOUNT, HANGS, JOBS, NAMESPACE, NO_ANSWER, PODS, Cluster, serving

from textgate.components.contracts import InputError, Resources
from textgate.components.train import trainjob
from textgate.components.train.kubernetes_errors import RIGHTS
from textgate.components.train.trainjob import run_train_job

NAME = "train-films-1"
RESOURCES = Resources.model_validate({"nodes": 2})
WHO = "the service account team/pipeline-runner"
JOB = f"trainjobs.trainer.kubeflow.org {NAME} in the namespace team"
RUNNING: tuple[list[list[str]], list[dict[str, str]]] = ([["line"], []], [])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    cluster.script = RUNNING
    cluster.pod = {
        "metadata": {"name": "films-train-1", "uid": "a-uid", "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "main", "image": "registry.example/train:1"}]},
    }
    monkeypatch.setattr(trainjob, "_POLL_SECONDS", 0.01)
    monkeypatch.setitem(trainjob._TIMEOUT, "_request_timeout", (1, 0.3))
    with serving(cluster) as kubeconfig:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        monkeypatch.setenv("KFP_POD_NAME", "films-train-1")
        yield cluster


def _run() -> str:
    """Run a TrainJob that the API refuses; return the sentence."""
    with pytest.raises(InputError) as error:
        run_train_job(NAME, ["train"], RESOURCES)
    assert "\n" not in str(error.value)
    return str(error.value)


def _denied(verb: str, resource: str, group: str) -> dict[str, Any]:
    """Return what RBAC answers (kubernetes/apiserver, endpoints/handlers/responsewriters/errors.go)."""
    target = f'User "{ACCOUNT}" cannot {verb} resource "{resource}" in API group "{group}" in the namespace "team"'
    details = {"name": "x", "group": group, "kind": resource.partition("/")[0]}
    return {"reason": "Forbidden", "message": f"{details['kind']} is forbidden: {target}", "details": details}


@pytest.mark.parametrize(
    ("request_", "verb", "resource", "group", "created"),
    [
        (f"GET {PODS}/films-train-1 ", "get", "pods", "", False),
        (f"POST {JOBS} ", "create", "trainjobs", "trainer.kubeflow.org", False),
        (f"GET {JOBS}/{NAME} ", "get", "trainjobs", "trainer.kubeflow.org", True),
        (f"GET {PODS} ", "list", "pods", "", True),
        ("-node-0-0-abcde/log ", "get", "pods/log", "", True),
    ],
)
def test_a_missing_right_is_named_with_the_rule_that_grants_it(
    request_: str,
    verb: str,
    resource: str,
    group: str,
    created: bool,
    cluster: Cluster,
    capfd: pytest.CaptureFixture[str],
) -> None:
    denied = _denied(verb, resource, group)
    cluster.refusals.append((request_, 403, denied))
    sentence = _run()
    assert sentence.startswith(f"{WHO} may not {verb} {f'{resource}.{group}'.strip('.')} ")
    assert "in the namespace team: bind a Role with the rule" in sentence
    assert f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}} to it, such as' in sentence
    assert sentence.endswith(f"textgate-train of k8s/base/accounts.yaml ({denied['message']})")
    # A job that was created is deleted; nothing else is.
    assert cluster.deleted == [NAME] * created
    assert ("DELETE" in "".join(cluster.requests)) == created
    assert ("created the TrainJob" in capfd.readouterr().out) == created


def test_without_any_right_the_sentence_is_about_the_first_request(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.refusals += [(f"POST {JOBS} ", 403, _denied("create", "trainjobs", "trainer.kubeflow.org"))]
    cluster.refusals += [("DELETE", 403, _denied("delete", "trainjobs", "trainer.kubeflow.org"))]
    assert _run().startswith(f"{WHO} may not create {JOB}: ")
    assert capfd.readouterr().out == ""


def test_a_job_that_may_not_be_deleted_is_named_with_the_missing_right(
    cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.script = (RUNNING[0], [{"type": "Complete", "status": "True"}])
    cluster.refusals.append(("DELETE", 403, _denied("delete", "trainjobs", "trainer.kubeflow.org")))
    run_train_job(NAME, ["train"], RESOURCES)
    last = capfd.readouterr().out.splitlines()[-1]
    assert last.startswith(f"the TrainJob {NAME} may stay until this pod is removed: {WHO} may not delete {JOB}: ")
    assert 'resources: ["trainjobs"], verbs: ["delete"]}' in last


NO_NAMESPACE = {"message": 'namespaces "team" not found', "details": {"name": "team", "kind": "namespaces"}}


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (401, "Unauthorized", "Kubernetes does not accept its token (Unauthorized)"),
        (403, "exceeded quota: gpus", "the cluster does not admit it (exceeded quota: gpus)"),
        (
            404,
            "",
            "the cluster has no Kubeflow Trainer 2.2 or newer, which brings trainjobs.trainer.kubeflow.org (Not Found)",
        ),
        (404, NO_NAMESPACE, 'there is no such object (namespaces "team" not found)'),
        (409, "it exists", "it conflicts with another object (it exists)"),
        (422, "numNodes: Invalid value", "Kubernetes answered 422 (numNodes: Invalid value)"),
        (429, "too many requests", "Kubernetes answered 429 (too many requests)"),
    ],
)
def test_a_job_that_is_refused_was_not_created_and_is_not_deleted(
    status: int, answer: str | dict[str, Any], reason: str, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.refusals.append((f"POST {JOBS} ", status, answer))
    assert _run() == f"{WHO} cannot create {JOB}: {reason}"
    assert cluster.created == []
    assert "DELETE" not in "".join(cluster.requests)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("status", "created", "reason"),
    [
        (500, False, "Kubernetes answered 500 (failed calling webhook)"),
        (NO_ANSWER, True, "the cluster's API cannot be reached or does not answer ("),
        (HANGS, False, "the cluster's API cannot be reached or does not answer ("),
    ],
)
def test_a_job_that_may_have_been_created_is_deleted(
    status: int, created: bool, reason: str, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.refusals.append((f"POST {JOBS} ", status, "failed calling webhook"))
    assert _run().startswith(f"{WHO} cannot create {JOB}: {reason}")
    assert cluster.deleted == [NAME] * created
    assert cluster.requests[-1] == f"DELETE {JOBS}/{NAME}"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("gone", [True, False], ids=["no server", "a server without TLS"])
def test_a_server_that_cannot_be_reached_is_one_sentence(
    gone: bool, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kubeconfig = json.loads((tmp_path / "kubeconfig").read_text())
    server = kubeconfig["clusters"][0]["cluster"]
    server["server"] = "http://127.0.0.1:9" if gone else server["server"].replace("http", "https")
    (tmp_path / "unreachable").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "unreachable"))
    sentence = _run()
    assert sentence.startswith(f"{WHO} cannot get pods films-train-1 in the namespace team: the cluster's API cannot")
    assert ("port=9" if gone else "SSL") in sentence
    assert capfd.readouterr().out == ""


def test_a_job_that_another_deletes_while_it_runs_is_one_sentence(cluster: Cluster) -> None:
    details = {"message": f'trainjobs "{NAME}" not found', "details": {"name": NAME, "kind": "trainjobs"}}
    cluster.refusals.append((f"GET {JOBS}/{NAME} ", 404, details))
    assert _run() == f'{WHO} cannot get {JOB}: there is no such object (trainjobs "{NAME}" not found)'


def test_the_role_in_the_manifests_grants_exactly_the_rights_of_the_step() -> None:
    manifests = (Path(__file__).parents[2] / "k8s/base/accounts.yaml").read_text()
    (role,) = (
        manifest
        for manifest in yaml.safe_load_all(manifests)
        if (manifest["kind"], manifest["metadata"]["name"]) == ("Role", "textgate-train")
    )
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(right.verb, right.group, right.resource) for right in RIGHTS}
