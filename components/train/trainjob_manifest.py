"""Manifest of a TrainJob of Kubeflow Trainer.

github.com/kubeflow/trainer, pkg/apis/trainer/v1alpha1/trainjob_types.go, version 2.2 or newer.
"""

from collections.abc import Sequence
from typing import Any

from textgate.components.contracts import Resources

API = {"group": "trainer.kubeflow.org", "version": "v1alpha1", "plural": "trainjobs"}
"""Group, version and plural of the custom resource."""
_RUNTIME = "torch-distributed"
"""Name of Kubeflow Trainer's ClusterTrainingRuntime for torchrun; its container is named ``node``."""
_COPIED_PREFIXES = ("AWS_", "HF_", "MLFLOW_", "PIP_", "TEXTGATE_", "WANDB_")
# The cluster injects these into every pod of the service account, together with the files they name.
_INJECTED_PREFIXES = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_")


def train_job(name: str, command: Sequence[str], resources: Resources, pod: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a TrainJob.

    Args:
        name: See ``run_train_job``.
        command: See ``run_train_job``.
        resources: See ``run_train_job``.
        pod: Manifest of the step's pod, which the job's pods are modelled on.
    """
    accelerator = resources.accelerator
    quantities = {"cpu": resources.cpu, "memory": resources.memory}
    if accelerator:
        quantities[accelerator.type] = str(accelerator.count)
    step = next(container for container in pod["spec"]["containers"] if container["name"] == "main")
    variables = [variable for variable in step.get("env", []) if variable["name"].startswith(_COPIED_PREFIXES)]
    pod_spec = _pod_spec(resources, pod, step)
    pod_template = {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}, "spec": pod_spec}
    return {
        "apiVersion": f"{API['group']}/{API['version']}",
        "kind": "TrainJob",
        "metadata": {
            "name": name,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", **{key: pod["metadata"][key] for key in ("name", "uid")}}
            ],
        },
        "spec": {
            "runtimeRef": {"apiGroup": API["group"], "kind": "ClusterTrainingRuntime", "name": _RUNTIME},
            "trainer": {
                "image": step["image"],
                "command": list(command),
                "numNodes": resources.nodes,
                "numProcPerNode": accelerator.count if accelerator else 1,
                "resourcesPerNode": {"requests": quantities, "limits": quantities},
                "env": [variable for variable in variables if not variable["name"].startswith(_INJECTED_PREFIXES)],
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


def _pod_spec(resources: Resources, pod: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    """Return the changes to the runtime's pod spec; ``step`` is the container ``main`` of ``pod``."""
    copied = ("serviceAccountName", "imagePullSecrets", "securityContext")
    size = {"sizeLimit": resources.shm} if resources.shm else {}
    return {
        **{key: pod["spec"][key] for key in copied if key in pod["spec"]},
        "nodeSelector": resources.node_selector,
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in resources.pod_tolerations()],
        # GPUs of one machine exchange gradients through /dev/shm, which is limited to 64 MB by default.
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", **size}}],
        "containers": [
            {
                "name": "node",
                "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108
                **{key: step[key] for key in ("securityContext",) if key in step},
            }
        ],
    }
