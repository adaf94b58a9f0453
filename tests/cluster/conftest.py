"""The documented overlay in a namespace of its own, which is removed at the end whatever happens."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster.kube import Kube, Manifest
from cluster.overlay import write_overlay
from kubernetes import client, config

IN_PODS = Path(__file__).parent / "in_pods"
FILES = "textgate-test"
"""Name of the ConfigMap with the files that pods of the tests run."""
STEPS_ACCOUNT = "pipeline-runner"
"""Service account of the steps, which Kubeflow Pipelines brings with it."""
TEXT = "nobody expected it to be lovely"
LABEL = "good"
_REMOVAL_SECONDS = 600


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of these tests."""
    parser.addoption("--poll-seconds", type=float, default=5, help="Interval between requests for the state of a run.")
    parser.addoption(
        "--controller-seconds",
        type=float,
        default=60,
        help="Seconds in which a controller must give a new TrainJob a status.",
    )


@dataclass
class Deployed:
    """What was applied."""

    kube: Kube
    key: str
    """API key of the server."""
    manifests: list[Manifest]

    def find(self, kind: str, name: str) -> Manifest:
        """Return a manifest."""
        (found,) = (one for one in self.manifests if (one["kind"], one["metadata"]["name"]) == (kind, name))
        return found

    def job(self, *command: str, account: str | None = None, env: tuple[dict[str, Any], ...] = ()) -> Manifest:
        """Return the template of a Job in the image, environment and security context of the CronJob.

        Args:
            command: Command of the container, which is named ``main`` as that of a step.
            account: Service account whose token the pod gets; without it the pod has none.
            env: Further variables.
        """
        template = self.find("CronJob", "textgate-retrain")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = template["containers"]
        container = {
            **{key: container[key] for key in ("image", "envFrom", "securityContext")},
            "name": "main",
            "command": list(command),
            "env": [{"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, *env],
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}},
            "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("tmp", "test")],
        }
        spec = {
            **{key: template[key] for key in ("securityContext", "restartPolicy", "enableServiceLinks")},
            "serviceAccountName": account or "default",
            "automountServiceAccountToken": account is not None,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "test", "configMap": {"name": FILES}}],
        }
        labels = {"app.kubernetes.io/name": FILES, "textgate/grpc-client": "allowed"}
        return {"template": {"metadata": {"labels": labels}, "spec": spec}}


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    """Create a namespace that enforces the Pod Security Standard ``restricted``, and remove it at the end."""
    kube = Kube(f"textgate-test-{uuid.uuid4().hex[:8]}", config.new_client_from_config(os.environ["KUBECONFIG"]))
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/part-of": "textgate-tests"}
    try:
        kube.core.create_namespace({"metadata": {"name": kube.namespace, "labels": labels}})
        yield kube
    finally:
        _remove(kube)


def _remove(kube: Kube) -> None:
    def state() -> tuple[bool, Any]:
        try:
            found = kube.core.read_namespace(kube.namespace)
        except client.ApiException as error:
            if error.status == 404:
                return True, None
            raise
        return False, [condition.message for condition in found.status.conditions or []]

    try:
        kube.core.delete_namespace(kube.namespace)
    except client.ApiException as error:
        if error.status != 404:  # it was never created
            raise
    kube.wait(state, f"the removal of the namespace {kube.namespace}", _REMOVAL_SECONDS)


@pytest.fixture(scope="session")
def deployed(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Apply the overlay, train a model in its store, and wait until the server has it."""
    folder = tmp_path_factory.mktemp("overlay")
    key = write_overlay(folder, kube.namespace, os.environ.get("REGISTRY", "textgate"))
    files = {path.name: path.read_text() for path in IN_PODS.iterdir() if path.is_file()} | {"films.csv": films_csv()}
    kube.core.create_namespaced_config_map(kube.namespace, {"metadata": {"name": FILES}, "data": files})
    kube.core.create_namespaced_service_account(kube.namespace, {"metadata": {"name": STEPS_ACCOUNT}})
    deployed = Deployed(kube, key, kube.apply(folder / "test"))
    kube.wait_for_rollout("textgate-minio")
    command = ("textgate", "run", "/test/films.yaml", "--workspace", "/tmp/workspace", "--fail-on-reject")
    kube.create_job("train", deployed.job(*command))
    succeeded, lines = kube.job_ends("train")
    assert succeeded, lines[-20:]
    kube.wait_for_rollout("textgate-serving", at_least=2)
    return deployed


def films_csv() -> str:
    """Return the rows that the recipe in ``in_pods`` reads."""
    texts = (("nobody expected it to be lovely", LABEL), ("we have been waiting for something broken", "bad"))
    rows = (f"{texts[index % 2][0]} after {index} days,{texts[index % 2][1]}" for index in range(300))
    return "\n".join(["text,label", *rows, ""])
