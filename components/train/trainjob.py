"""Run a TrainJob of Kubeflow Trainer from the step's pod: create it, forward its logs, and delete it.

The job's pods copy the step's own pod: image, service account, security context, and the environment variables of the
store and the experiment trackers.
"""

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, Resources
from textgate.components.step import WORK_PREFIX, parse_error
from textgate.components.train.kubernetes_errors import (
    CREATE_JOB,
    DELETE_JOB,
    GET_JOB,
    GET_LOG,
    GET_POD,
    LIST_PODS,
    REQUEST_SECONDS,
    KubernetesError,
    Right,
    account_of,
    api_errors,
)
from textgate.components.train.trainjob_manifest import API, train_job

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
_POLL_SECONDS = 2.0
_API_OUTAGE_SECONDS = 300.0
"""Time for which failures of the API server are tolerated while the job runs."""
_LAST_LINES = 5
"""Number of log lines in the error of a failed job."""
_TIMEOUT: dict[str, Any] = {"_request_timeout": REQUEST_SECONDS}


def on_cluster() -> bool:
    """Return whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def run_train_job(name: str, command: Sequence[str], resources: Resources) -> None:
    """Run ``command`` on several machines as a TrainJob, and print the output of its pods.

    A job that was created, or may have been, is deleted at the end. The step's pod also owns it, so Kubernetes deletes
    it if the pod is killed first.

    Args:
        name: Name of the job.
        command: Command of each node's container.
        resources: Number of nodes, and the resources of each.

    Raises:
        InputError: The job cannot be created or followed, it fails, or one of its processes reports an InputError.
    """
    cluster = _Cluster.connect()
    body = train_job(name, command, resources, cluster.own_pod())
    with ExitStack() as stack:
        stack.callback(cluster.delete, name)  # a signal may end this step before it reads the answer
        try:
            cluster.create(name, body)
        except KubernetesError as error:
            if not error.may_have_taken_effect:
                stack.pop_all()
            raise
        print(f"created the TrainJob {name} on {resources.nodes} nodes", flush=True)
        _follow(cluster, name)


@dataclass(frozen=True)
class _Cluster:
    """Clients of the cluster's API, and the namespace of the step."""

    core: Any
    objects: Any
    namespace: str
    account: str
    """Name of the account that makes the requests, for sentences."""

    @classmethod
    def connect(cls) -> "_Cluster":
        """Connect with KUBECONFIG if it is set, otherwise with the service account of this pod."""
        from kubernetes import client, config

        try:
            if kubeconfig := os.environ.get("KUBECONFIG"):
                config.load_kube_config(kubeconfig)
                namespace = config.list_kube_config_contexts(kubeconfig)[1]["context"].get("namespace", "default")
            else:
                config.load_incluster_config()
                namespace = _NAMESPACE.read_text("utf-8").strip()
        except (config.ConfigException, OSError) as error:
            raise InputError(f"this pod has no address or token of its cluster's API: {error}") from error
        core = client.CoreV1Api()
        token = core.api_client.configuration.get_api_key_with_prefix("authorization") or ""
        return cls(core, client.CustomObjectsApi(), namespace, account_of(token))

    def _errors(self, right: Right, name: str) -> AbstractContextManager[None]:
        return api_errors(right, name, self.namespace, self.account)

    def own_pod(self) -> dict[str, Any]:
        """Return the manifest of the pod that this step runs in."""
        name = os.environ.get("KFP_POD_NAME") or os.environ["HOSTNAME"]
        with self._errors(GET_POD, name):
            pod = self.core.read_namespaced_pod(name, self.namespace, **_TIMEOUT)
        return dict(self.core.api_client.sanitize_for_serialization(pod))

    def create(self, name: str, body: dict[str, Any]) -> None:
        """Create a TrainJob from its manifest."""
        with self._errors(CREATE_JOB, name):
            self.objects.create_namespaced_custom_object(**API, namespace=self.namespace, body=body, **_TIMEOUT)

    def job(self, name: str) -> dict[str, Any]:
        """Return a TrainJob."""
        with self._errors(GET_JOB, name):
            return dict(
                self.objects.get_namespaced_custom_object(**API, namespace=self.namespace, name=name, **_TIMEOUT)
            )

    def pods(self, job: str) -> list[Any]:
        """Return the pods of a TrainJob, sorted by name."""
        label = f"jobset.sigs.k8s.io/jobset-name={job}"
        with self._errors(LIST_PODS, ""):
            pods = self.core.list_namespaced_pod(self.namespace, label_selector=label, **_TIMEOUT).items
        return sorted(pods, key=lambda pod: str(pod.metadata.name))

    def log(self, pod: str, seconds: int | None) -> str | None:
        """Return the log of a pod of the last ``seconds``, or all of it, with timestamps; None if there is none yet."""
        since = {} if seconds is None else {"since_seconds": seconds}
        try:
            with self._errors(GET_LOG, pod):
                response = self.core.read_namespaced_pod_log(
                    pod,
                    self.namespace,
                    container="node",
                    timestamps=True,
                    _preload_content=False,
                    **since,
                    **_TIMEOUT,
                )
                return str(response.data.decode("utf-8", "replace"))
        except KubernetesError as error:
            if error.status in (400, 404):  # the container has not started, or the pod is gone
                return None
            raise

    def delete(self, job: str) -> None:
        """Delete a TrainJob; a failure is printed, not raised."""
        try:
            with self._errors(DELETE_JOB, job):
                self.objects.delete_namespaced_custom_object(**API, namespace=self.namespace, name=job, **_TIMEOUT)
        except KubernetesError as error:
            if error.status != 404:
                print(f"the TrainJob {job} may stay until this pod is removed: {error}", flush=True)


def _follow(cluster: _Cluster, name: str) -> None:
    logs = _Logs(cluster, name)
    last_answer = time.monotonic()
    while True:
        try:
            job = cluster.job(name)
            # Logs are read after the state, so that no line of a finished job is missed.
            logs.forward()
            last_answer = time.monotonic()
        except KubernetesError as error:
            if not error.transient or time.monotonic() - last_answer > _API_OUTAGE_SECONDS:
                raise
            job = {}
        if logs.error:
            raise logs.error
        for condition in job.get("status", {}).get("conditions", []):
            if condition["status"] == "True" and condition["type"] == "Complete":
                return
            if condition["status"] == "True" and condition["type"] == "Failed":
                lines = " | ".join(logs.last) or "none"
                reason = f"{condition.get('reason', '')}: {condition.get('message', '')}"
                raise InputError(f"the TrainJob {name} failed ({reason}); its last lines: {lines}")
        time.sleep(_POLL_SECONDS)


@dataclass
class _Logs:
    """Logs of a job's pods, which are forwarded to the step's own output."""

    cluster: _Cluster
    job: str
    error: InputError | None = None
    """First InputError that a process reports."""
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    """Last lines of all pods."""
    _read: dict[str, tuple[float, str]] = field(default_factory=dict)
    """By pod: when its log was read last (monotonic seconds), and the timestamp of its last line."""
    _state: str = ""
    """State of the pods as last printed."""

    def forward(self) -> None:
        """Print the lines that were logged since the last call."""
        pods = self.cluster.pods(self.job)
        self._print_state(pods)
        for pod in pods:
            index = (pod.metadata.annotations or {}).get(_INDEX_ANNOTATION, "0")
            for line in self._lines(pod.metadata.name):
                if error := parse_error(line):
                    self.error = self.error or error
                elif line.strip() and not line.startswith(WORK_PREFIX):
                    line = line if index == "0" else f"node {index}: {line}"
                    self.last.append(line.strip())
                    print(line, flush=True)

    def _print_state(self, pods: Sequence[Any]) -> None:
        """Print the phase of each pod if it has changed, and why a pod cannot be scheduled."""
        state = ", ".join(f"{pod.metadata.name} {pod.status.phase}" for pod in pods)
        for pod in pods:
            for condition in pod.status.conditions or []:
                if condition.type == "PodScheduled" and condition.status == "False":
                    state = f"{state}: {condition.message}"
        if state != self._state:
            self._state = state
            print(f"pods of the TrainJob: {state}", flush=True)

    def _lines(self, pod: str) -> Iterator[str]:
        """Yield the lines that a pod has logged since the last call."""
        now = time.monotonic()
        read, latest = self._read.get(pod, (None, ""))
        # 10 s of overlap, since clocks differ; lines that were read before are recognized by their timestamp.
        log = self.cluster.log(pod, None if read is None else int(now - read) + 10)
        if log is None:
            return
        seen = latest
        for line in log.split("\n"):
            timestamp, _, text = line.partition(" ")
            if timestamp > seen:
                latest = max(latest, timestamp)
                yield text
        self._read[pod] = now, latest
