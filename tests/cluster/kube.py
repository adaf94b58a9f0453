"""A namespace of any cluster: kubectl applies, the client of Kubernetes does the rest."""

import copy
import json
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client

KUBECTL = Path(sysconfig.get_path("scripts")) / "kubectl"
Manifest = dict[str, Any]
_POLL_SECONDS = 1.0


@dataclass
class Kube:
    """Namespace of the cluster that KUBECONFIG names."""

    namespace: str
    api: client.ApiClient

    @property
    def core(self) -> client.CoreV1Api:
        """Client of the core group."""
        return client.CoreV1Api(self.api)

    def apply(self, folder: Path) -> list[Manifest]:
        """Apply a kustomization; return its manifests as the cluster has them.

        With server-side apply the server validates: a field that its schema does not know is an error.
        """
        command = [
            *(KUBECTL, "apply", f"--namespace={self.namespace}", f"--kustomize={folder}"),
            *("--server-side", "--validate=false", "--output=json"),
        ]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        assert process.returncode == 0, f"kubectl apply: {process.stderr.strip()}"
        applied = json.loads(process.stdout)
        return list(applied.get("items", [applied]))

    def wait(self, state: Callable[[], tuple[bool, Any]], what: str, seconds: float = 300) -> Any:
        """Wait until ``state`` returns True and a value; return the value, or fail with the last one."""
        end = time.monotonic() + seconds
        while True:
            reached, value = state()
            if reached:
                return value
            assert time.monotonic() < end, f"after {seconds:.0f} s {what} is not reached: {value}"
            time.sleep(_POLL_SECONDS)

    def wait_for_rollout(self, deployment: str, at_least: int = 1) -> None:
        """Wait until every pod of a Deployment has its current template and is available, as kubectl rollout status."""

        def state() -> tuple[bool, Any]:
            found = client.AppsV1Api(self.api).read_namespaced_deployment(deployment, self.namespace)
            wanted, status = found.spec.replicas, found.status
            numbers = (status.replicas, status.updated_replicas, status.available_replicas)
            seen = (status.observed_generation or 0) >= found.metadata.generation
            reasons = [condition.message for condition in status.conditions or [] if condition.status == "False"]
            return seen and wanted >= at_least and set(numbers) == {wanted}, [numbers, *reasons, *self._waiting()]

        self.wait(state, f"the rollout of {deployment}", 600)

    def _waiting(self) -> list[str]:
        """Return why pods do not run: conditions such as Unschedulable, reasons such as ImagePullBackOff."""
        found = []
        for pod in self.core.list_namespaced_pod(self.namespace).items:
            conditions = [one.message for one in pod.status.conditions or [] if one.reason == "Unschedulable"]
            states = [container.state.waiting for container in pod.status.container_statuses or []]
            found += [f"{pod.metadata.name}: {reason}" for reason in conditions]
            found += [f"{pod.metadata.name}: {waiting.reason}" for waiting in states if waiting]
        return found

    def pods(self, labels: dict[str, str]) -> list[Any]:
        """Return the pods with these labels that are not being deleted."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return [pod for pod in pods if pod.metadata.deletion_timestamp is None]

    def create_job(self, name: str, template: Manifest) -> None:
        """Create a Job that is not tried again."""
        spec = {**copy.deepcopy(template), "backoffLimit": 0}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        client.BatchV1Api(self.api).create_namespaced_job(self.namespace, body)

    def job_ends(self, name: str, seconds: float = 900) -> tuple[bool, list[str]]:
        """Wait until a Job has ended; return whether it succeeded, and the lines of its pod's log."""

        def state() -> tuple[bool, Any]:
            status = client.BatchV1Api(self.api).read_namespaced_job_status(name, self.namespace).status
            ended = {one.type for one in status.conditions or [] if one.status == "True"} & {"Complete", "Failed"}
            return bool(ended), ended or self._waiting()

        ended = self.wait(state, f"the end of the Job {name}", seconds)
        return ended == {"Complete"}, self.log(name)

    def log(self, job: str) -> list[str]:
        """Return the lines that the pod of a Job has printed; none before its container has started."""
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=f"batch.kubernetes.io/job-name={job}").items
        if not pods:
            return []
        try:
            # Read as bytes: the client would turn a log that happens to be JSON into an object.
            response = self.core.read_namespaced_pod_log(pods[0].metadata.name, self.namespace, _preload_content=False)
            return str(response.data.decode("utf-8", "replace")).splitlines()
        except client.ApiException as error:
            if error.status in (400, 404):
                return []
            raise

    def delete_job(self, name: str) -> None:
        """Delete a Job and its pod."""
        client.BatchV1Api(self.api).delete_namespaced_job(name, self.namespace, propagation_policy="Background")

    def may(self, account: str, verb: str, group: str, resource: str, namespace: str | None = None) -> bool:
        """Return whether a service account of the namespace has a right (``kubectl auth can-i --as``)."""
        resource, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace or self.namespace}
        spec = {
            "user": f"system:serviceaccount:{self.namespace}:{account}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"],
            "resourceAttributes": {**attributes, **({"subresource": subresource} if subresource else {})},
        }
        review = client.AuthorizationV1Api(self.api).create_subject_access_review({"spec": spec})
        return bool(review.status.allowed)
