"""One TrainJob of Kubeflow Trainer: created by the step's pod, followed to its end, deleted.

github.com/kubeflow/trainer, pkg/apis/trainer/v1alpha1/trainjob_types.go, of version 2.2 or newer. Its nodes run in pods
like the step's own: the same image, service account, security context, and variables for the store and the trackers.
"""

import json
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, Resources
from textgate.components.step import ERROR_PREFIX, WORK_PREFIX

_API = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "plural": "trainjobs"}
_RUNTIME = "torch-distributed"
"""The ClusterTrainingRuntime that Kubeflow Trainer brings for torchrun; its container is called ``node``."""
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_INDEX = "batch.kubernetes.io/job-completion-index"
_GIVEN = ("AWS_", "HF_", "MLFLOW_", "PIP_", "TEXTGATE_", "WANDB_")
# A cluster gives these to every pod of the service account by itself, with the files they name.
_INJECTED = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_")
_SECONDS_BETWEEN_LOOKS = 2.0
_PATIENCE_SECONDS = 300.0
"""For an API server that does not answer while the job runs."""
_LAST_LINES = 5
_SOON: dict[str, Any] = {"_request_timeout": 60}
"""Seconds after which an answer is no longer waited for."""


def on_cluster() -> bool:
    """Whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def run_train_job(name: str, command: Sequence[str], resources: Resources) -> None:
    """Run ``command`` on ``resources.nodes`` machines, each of which has what ``resources`` asks for.

    What its pods print is printed here. The job is deleted whatever happens; the step's pod owns it besides, so that
    it goes with the pod where nobody is left to delete it.

    Raises:
        InputError: the job cannot be created or followed, a process says what it was given is wrong, or the job fails.
    """
    cluster = _Cluster.connect()
    try:
        with _explained(f"create the TrainJob {name} in the namespace {cluster.namespace}"):
            body = train_job(name, command, resources, cluster.own_pod())
            cluster.objects.create_namespaced_custom_object(**_API, namespace=cluster.namespace, body=body, **_SOON)
        print(f"created the TrainJob {name} on {resources.nodes} nodes", flush=True)
        _follow(cluster, name)
    finally:
        cluster.delete(name)


def train_job(name: str, command: Sequence[str], resources: Resources, pod: dict[str, Any]) -> dict[str, Any]:
    """The manifest, for the step that runs in ``pod``."""
    accelerator = resources.accelerator
    asked = {"cpu": resources.cpu, "memory": resources.memory}
    if accelerator:
        asked[accelerator.type] = str(accelerator.count)
    size = {"sizeLimit": resources.shm} if resources.shm else {}
    step = next(container for container in pod["spec"]["containers"] if container["name"] == "main")
    given = [variable for variable in step.get("env", []) if variable["name"].startswith(_GIVEN)]
    same = ("serviceAccountName", "imagePullSecrets", "securityContext")
    pod_patch = {
        **{key: pod["spec"][key] for key in same if key in pod["spec"]},
        "nodeSelector": resources.node_selector,
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in resources.tolerations],
        # The devices of a machine exchange gradients through it; a container's own holds 64 MB.
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", **size}}],
        "containers": [
            {
                "name": "node",
                "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
                **{key: step[key] for key in ("securityContext",) if key in step},
            }
        ],
    }
    pod_template = {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}, "spec": pod_patch}
    return {
        "apiVersion": f"{_API['group']}/{_API['version']}",
        "kind": "TrainJob",
        "metadata": {
            "name": name,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", **{key: pod["metadata"][key] for key in ("name", "uid")}}
            ],
        },
        "spec": {
            "runtimeRef": {"apiGroup": _API["group"], "kind": "ClusterTrainingRuntime", "name": _RUNTIME},
            "trainer": {
                "image": step["image"],
                "command": list(command),
                "numNodes": resources.nodes,
                "numProcPerNode": accelerator.count if accelerator else 1,
                "resourcesPerNode": {"requests": asked, "limits": asked},
                "env": [variable for variable in given if not variable["name"].startswith(_INJECTED)],
            },
            "runtimePatches": [
                {
                    "manager": "textgate/train",
                    "trainingRuntimeSpec": {
                        "template": {
                            "spec": {
                                "replicatedJobs": [{"name": "node", "template": {"spec": {"template": pod_template}}}]
                            }
                        }
                    },
                }
            ],
        },
    }


@dataclass(frozen=True)
class _Cluster:
    """The API of the cluster, and the namespace the step runs in."""

    core: Any
    objects: Any
    namespace: str

    @classmethod
    def connect(cls) -> "_Cluster":
        from kubernetes import client, config

        try:
            if named := os.environ.get("KUBECONFIG"):
                config.load_kube_config(named)
                namespace = config.list_kube_config_contexts(named)[1]["context"].get("namespace", "default")
            else:
                config.load_incluster_config()
                namespace = _NAMESPACE.read_text("utf-8").strip()
        except (config.ConfigException, OSError) as error:
            raise InputError(f"this pod is not given the address of its cluster's API and a token: {error}") from error
        return cls(client.CoreV1Api(), client.CustomObjectsApi(), namespace)

    def own_pod(self) -> dict[str, Any]:
        """The pod this step runs in, as in the Kubernetes API."""
        name = os.environ.get("KFP_POD_NAME") or os.environ["HOSTNAME"]
        pod = self.core.read_namespaced_pod(name, self.namespace, **_SOON)
        return dict(self.core.api_client.sanitize_for_serialization(pod))

    def pods(self, job: str) -> list[Any]:
        label = f"jobset.sigs.k8s.io/jobset-name={job}"
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=label, **_SOON).items
        return sorted(pods, key=lambda pod: str(pod.metadata.name))

    def delete(self, job: str) -> None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self.objects.delete_namespaced_custom_object(**_API, namespace=self.namespace, name=job, **_SOON)
        except (ApiException, HTTPError) as error:
            if getattr(error, "status", None) != 404:
                print(f"the TrainJob {job} was not deleted: {_reason(error)}", flush=True)


def _follow(cluster: _Cluster, name: str) -> None:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    doing = f"follow the TrainJob {name} in the namespace {cluster.namespace}"
    logs = _Logs(cluster, name)
    answered = time.monotonic()
    while True:
        try:
            job = cluster.objects.get_namespaced_custom_object(**_API, namespace=cluster.namespace, name=name, **_SOON)
            # Read after the state, so that of a job that has ended every line is seen.
            logs.forward()
            answered = time.monotonic()
        except (ApiException, HTTPError) as error:
            passing = isinstance(error, HTTPError) or error.status == 429 or error.status >= 500
            if not passing or time.monotonic() - answered > _PATIENCE_SECONDS:
                with _explained(doing):
                    raise
            job = {}
        if logs.sentence:
            raise InputError(logs.sentence)
        for condition in job.get("status", {}).get("conditions", []):
            if condition["status"] == "True" and condition["type"] == "Complete":
                return
            if condition["status"] == "True" and condition["type"] == "Failed":
                said = " | ".join(logs.last) or "none"
                why = f"{condition.get('reason', '')}: {condition.get('message', '')}"
                raise InputError(f"the TrainJob {name} failed ({why}); its last lines: {said}")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


@dataclass
class _Logs:
    """What the pods of a job print, on its way to the step's own output."""

    cluster: _Cluster
    job: str
    sentence: str = ""
    """What a process says was wrong with what it was given."""
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    _read: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When a pod's log was read last, and the time of its last line."""
    _state: str = ""

    def forward(self) -> None:
        """Print what has been said since."""
        pods = self.cluster.pods(self.job)
        self._tell(pods)
        for pod in pods:
            index = (pod.metadata.annotations or {}).get(_INDEX, "0")
            for line in self._lines(pod.metadata.name):
                if line.startswith(ERROR_PREFIX):
                    self.sentence = self.sentence or line.removeprefix(ERROR_PREFIX)
                elif line.strip() and not line.startswith(WORK_PREFIX):
                    line = line if index == "0" else f"node {index}: {line}"
                    self.last.append(line.strip())
                    print(line, flush=True)

    def _tell(self, pods: Sequence[Any]) -> None:
        """Say how the pods are, when that has changed, and why one finds no machine."""
        state = ", ".join(f"{pod.metadata.name} {pod.status.phase}" for pod in pods)
        for pod in pods:
            for condition in pod.status.conditions or []:
                if condition.type == "PodScheduled" and condition.status == "False":
                    state = f"{state}: {condition.message}"
        if state != self._state:
            self._state = state
            print(f"pods of the TrainJob: {state}", flush=True)

    def _lines(self, pod: str) -> Iterator[str]:
        from kubernetes.client import ApiException

        now = time.monotonic()
        read, latest = self._read.get(pod, (None, ""))
        # Some seconds more than have passed, since clocks differ; lines are told apart by their time.
        since = _SOON if read is None else {**_SOON, "since_seconds": int(now - read) + 10}
        try:
            answer = self.cluster.core.read_namespaced_pod_log(
                pod, self.cluster.namespace, container="node", timestamps=True, _preload_content=False, **since
            )
        except ApiException as error:
            if error.status in (400, 404):  # its container has not begun, or the pod is gone
                return
            raise
        seen = latest
        for line in answer.data.decode("utf-8", "replace").split("\n"):
            stamp, _, said = line.partition(" ")
            if stamp > seen:
                latest = max(latest, stamp)
                yield said
        self._read[pod] = now, latest


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """Turn what a person can mend into one sentence."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        if error.status == 403:
            raise InputError(
                f"the train step may not {doing}: its service account needs the verbs create, get and delete on "
                f"trainjobs.{_API['group']} and get and list on pods and pods/log ({_reason(error)})"
            ) from error
        if error.status == 404:
            raise InputError(
                f"the train step cannot {doing}: there is none, or the cluster has no Kubeflow Trainer 2.2 or newer "
                f"({_reason(error)})"
            ) from error
        raise InputError(
            f"the train step cannot {doing}: Kubernetes answered {error.status}, {_reason(error)}"
        ) from error
    except HTTPError as error:
        raise InputError(f"the train step cannot {doing}: the cluster's API cannot be reached ({error})") from error


def _reason(error: Any) -> str:
    """What the API server says, in one line; its answer is a Status object."""
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return " ".join(str(getattr(error, "reason", None) or error).split())
