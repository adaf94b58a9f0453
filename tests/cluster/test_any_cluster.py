"""Tests for any cluster: ``make test-cluster``. The fast tests run them against a fake (``test_against_fake``)."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cluster.conftest import LABEL, STEPS_ACCOUNT, TEXT, Deployed
from cluster.kube import Kube
from kubernetes import client

from textgate.components.train.kubernetes_errors import RIGHTS
from textgate.components.train.trainjob_manifest import API

pytestmark = pytest.mark.cluster
SERVER = "textgate-serving"
MORE_ANSWERS = 30
"""Requests by each protocol that must be answered after a disturbance, so that its end is covered too."""


@contextlib.contextmanager
def _asked_all_the_time(deployed: Deployed, name: str) -> Iterator[Callable[[], None]]:
    """Ask the Service from a pod, over HTTP and gRPC, during the body; no request may fail.

    Yields:
        Function that waits until ``MORE_ANSWERS`` further requests were answered by each protocol.
    """
    kube = deployed.kube
    ports = {one["name"]: f"{SERVER}:{one['port']}" for one in deployed.find("Service", SERVER)["spec"]["ports"]}
    command = ("python", "/test/load.py", ports["http"], ports["grpc"], "films", TEXT, LABEL)
    kube.create_job(name, deployed.job(*command, env=({"name": "TEXTGATE_KEY", "value": deployed.key},)))

    def counts() -> dict[str, Any]:
        lines = [json.loads(line) for line in kube.log(name) if line.startswith("{")]
        return lines[-1] if lines else {"http": 0, "grpc": 0, "failed": 0, "failures": []}

    def answered(before: dict[str, Any]) -> tuple[bool, Any]:
        now = counts()
        return all(now[one] >= before[one] + MORE_ANSWERS for one in ("http", "grpc")), now

    def wait() -> None:
        before = counts()
        kube.wait(lambda: answered(before), f"{MORE_ANSWERS} more answers")

    wait()
    yield wait
    wait()
    last = counts()
    kube.delete_job(name)
    assert last["failed"] == 0, last
    print(f"{last['http']} requests over HTTP and {last['grpc']} over gRPC, none failed")


def test_a_rolling_update_fails_no_request(deployed: Deployed) -> None:
    kube = deployed.kube
    before = _uids(kube)
    with _asked_all_the_time(deployed, "ask-during-rollout"):
        stamp = {"textgate/restarted-at": datetime.now(UTC).isoformat()}
        body = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
        client.AppsV1Api(kube.api).patch_namespaced_deployment(SERVER, kube.namespace, body)
        kube.wait_for_rollout(SERVER, at_least=2)
    assert not before & _uids(kube)


def test_an_eviction_fails_no_request_and_respects_the_budget(deployed: Deployed) -> None:
    kube = deployed.kube
    with _asked_all_the_time(deployed, "ask-during-eviction"):
        first, second, *_ = _servers(kube)
        _evict(kube, first)
        with pytest.raises(client.ApiException) as refused:
            _evict(kube, second)
        assert refused.value.status == 429
        assert "disruption budget" in refused.value.body
        kube.wait(lambda: (first not in _servers(kube), _servers(kube)), f"the end of {first}")
        kube.wait_for_rollout(SERVER, at_least=2)


def test_the_cron_job_runs_once(deployed: Deployed) -> None:
    """Without the source, or Kubeflow Pipelines at the address in the settings, it ends with one sentence."""
    cron = deployed.find("CronJob", "textgate-retrain")
    deployed.kube.create_job("retrain-once", cron["spec"]["jobTemplate"]["spec"])
    succeeded, lines = deployed.kube.job_ends("retrain-once")
    if not succeeded:
        (sentence,) = (line for line in lines if line.startswith("Error: "))
        assert not any(line.startswith("Traceback") for line in lines), lines
        print(f"the CronJob could not retrain here: {sentence}")


def test_a_step_without_rights_says_which_one_is_missing(deployed: Deployed) -> None:
    kube = deployed.kube
    kube.create_job("no-rights", deployed.job("python", "/test/follow.py", "train-no-rights", account="default"))
    succeeded, lines = kube.job_ends("no-rights")
    (sentence,) = (line for line in lines if line.startswith("textgate error"))
    assert not succeeded
    assert f"the service account {kube.namespace}/default may not get pods" in sentence
    assert f"in the namespace {kube.namespace}: bind a Role with the rule" in sentence
    assert not any("may stay" in line or "deleted" in line for line in lines), lines


def test_a_train_job_is_created_followed_and_deleted(deployed: Deployed, request: pytest.FixtureRequest) -> None:
    """Where no controller gives the TrainJob a status, its acceptance and its deletion are checked alone."""
    kube, name = deployed.kube, "train-on-two"
    objects = client.CustomObjectsApi(kube.api)

    def jobs() -> dict[str, Any]:
        found = objects.list_namespaced_custom_object(**API, namespace=kube.namespace)["items"]
        return {one["metadata"]["name"]: one.get("status") or {} for one in found}

    groups = {group.name for group in client.ApisApi(kube.api).get_api_versions().groups}
    if API["group"] not in groups:
        pytest.skip("the cluster has no CRD of Kubeflow Trainer: no TrainJob was created")
    kube.create_job("follow", deployed.job("python", "/test/follow.py", name, account=STEPS_ACCOUNT))
    kube.wait(lambda: (any("created the TrainJob" in line for line in kube.log("follow")), kube.log("follow")), name)
    end = time.monotonic() + request.config.getoption("--controller-seconds")
    while not (controlled := bool(jobs().get(name, {"ended": True}))) and time.monotonic() < end:
        time.sleep(1)
    if controlled:
        succeeded, lines = kube.job_ends("follow")
        assert succeeded, lines
        assert [line for line in lines if line.endswith(("node 0", "node 1: node 1"))], lines
    else:
        print("the CRD of Kubeflow Trainer has no controller here: the TrainJob was accepted, and not run")
        kube.delete_job("follow")
    kube.wait(lambda: (name not in jobs(), jobs()), f"the deletion of the TrainJob {name}")


@pytest.mark.parametrize("account", [STEPS_ACCOUNT, "textgate-serving", "textgate-retrain"])
def test_each_account_may_do_what_its_roles_say_and_nothing_else(account: str, deployed: Deployed) -> None:
    kube = deployed.kube
    granted = _granted(deployed, account)
    if account == STEPS_ACCOUNT:
        assert granted == {(right.verb, right.group, right.resource) for right in RIGHTS}
    for right in granted:
        assert kube.may(account, *right), right
        assert not kube.may(account, *right, namespace="default"), right
    for right in _DANGEROUS - granted:
        assert not kube.may(account, *right), right


_DANGEROUS = {
    *((verb, "", "secrets") for verb in ("get", "list", "create", "delete")),
    *((verb, "", "pods") for verb in ("get", "list", "create", "delete")),
    *(("create", "", name) for name in ("pods/exec", "pods/eviction", "serviceaccounts/token")),
    *((verb, "trainer.kubeflow.org", "trainjobs") for verb in ("create", "get", "list", "update", "delete")),
    *((verb, "pipelines.kubeflow.org", "runs") for verb in ("create", "delete")),
    ("patch", "apps", "deployments"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("impersonate", "", "serviceaccounts"),
}


def _granted(deployed: Deployed, account: str) -> set[tuple[str, str, str]]:
    """Return verb, API group and resource of each right that the applied Roles give an account."""
    bindings = [one for one in deployed.manifests if one["kind"] == "RoleBinding"]
    roles = [
        deployed.find("Role", binding["roleRef"]["name"])
        for binding in bindings
        if any(subject["name"] == account for subject in binding["subjects"])
    ]
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _servers(kube: Kube) -> list[str]:
    return [pod.metadata.name for pod in kube.pods({"app.kubernetes.io/name": SERVER})]


def _uids(kube: Kube) -> set[str]:
    return {pod.metadata.uid for pod in kube.pods({"app.kubernetes.io/name": SERVER})}


def _evict(kube: Kube, pod: str) -> None:
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace=kube.namespace))
    kube.core.create_namespaced_pod_eviction(pod, kube.namespace, body)
