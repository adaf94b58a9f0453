"""Settings of the pods that run the steps on Kubernetes; ``kfp.local`` ignores them."""

import re
from collections.abc import Sequence
from typing import Any

from kfp import dsl, kubernetes

from textgate.components.contracts import Compute, Recipe, Resources
from textgate.components.sources import SOURCE_URLS
from textgate.components.storage.access import Role
from textgate.components.storage.s3_settings import ROLE_VARIABLES
from textgate.components.tracking.services import VARIABLES

S3_SECRET = "textgate-s3"  # noqa: S105 (a name)
"""Secret with a key for the complete bucket; without a key boto3 uses the pod's own identity.

A role's key is in the Secret ``textgate-s3-ROLE``, and used before this one.
"""
HUB_SECRET = "textgate-hub"  # noqa: S105
"""Secret with a Hugging Face token, for gated models and private data sets."""
SOURCES_SECRET = "textgate-sources"  # noqa: S105
"""Secret with complete URLs of sources, whose query or user information no pipeline stores."""
TRACKING_SECRET = "textgate-tracking"  # noqa: S105
"""Secret with the variables of the tracking services, for the steps train and record."""
CONFIG_MAP = "textgate"
"""Config map with the address of the store. It and the secrets are optional; k8s/base holds templates."""
ROLES: dict[str, Role] = {
    "configure": "configure",
    **dict.fromkeys(("gate-trained", "gate-served", "record"), "gate"),
    "promote": "promote",
    "system": "train",
    "train": "train",
}
"""Role of each component that uses the store itself; its artifacts are read and written by KFP's launcher."""
_URI = re.compile(r'"([a-z0-9]+)://')
_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION")

USER = 10001
"""User and group id of the images' processes."""
RETRIES = 2
_BACKOFF_SECONDS = 60
_WEEK = 7 * 24 * 3600
PIPELINE_CONFIG = dsl.PipelineConfig(ttl_seconds_after_finished=_WEEK, active_deadline_seconds=_WEEK)
"""A run is stopped after a week; its pods and their logs are deleted a week after it ended, its artifacts are not."""
EXECUTOR_TEMPLATE = "metadata-0-3-retry-system-container-impl"
"""Argo template that KFP's backend generates for these pods (argocompiler/container.go).

The name encodes the number of annotations and labels, and whether the step is retried. Pod names contain it, and the
log of a pod is requested by its name.
"""

_UNITS = {unit + i: (1024 if i else 1000) ** power for power, unit in enumerate("KMGTPE", 1) for i in ("", "i")}
"""Bytes per suffix of a Kubernetes quantity."""


def schemes_in(section: Any) -> frozenset[str]:
    """Return the schemes of the URIs in a JSON text; all that need a secret if it is known at run time only."""
    return frozenset(_URI.findall(section)) if isinstance(section, str) else frozenset({"s3", "hf", "https"})


def configure_pod(task: Any, instance: str, compute: Compute, schemes: frozenset[str] = frozenset()) -> None:
    """Set labels, credentials, user, CPU, memory, time limit and retries of a task's pod.

    A step gets only the secrets that it needs, because it may run the code of a base model.

    Every step may be retried: it writes its outputs completely or not at all, and promote recognizes what an earlier
    attempt has done.

    Args:
        task: Task of the pipeline.
        instance: Value of the label ``app.kubernetes.io/instance``.
        compute: CPU, memory and time limit of one attempt.
        schemes: Schemes of the URIs that the step reads, without those of its artifacts.
    """
    for key, value in (("name", "textgate"), ("instance", instance), ("component", task.name)):
        kubernetes.add_pod_label(task, f"app.kubernetes.io/{key}", value)
    role = ROLES.get(task.component_spec.name) or ("data" if schemes & {"s3", "feedback"} else None)
    if role:
        kubernetes.use_secret_as_env(task, S3_SECRET, {key: key for key in ROLE_VARIABLES}, optional=True)
        kubernetes.use_secret_as_env(task, f"{S3_SECRET}-{role}", ROLE_VARIABLES, optional=True)
    if "hf" in schemes:
        kubernetes.use_secret_as_env(task, HUB_SECRET, {"HF_TOKEN": "HF_TOKEN"}, optional=True)
    if schemes & {"http", "https"}:
        kubernetes.use_secret_as_env(task, SOURCES_SECRET, {SOURCE_URLS: SOURCE_URLS}, optional=True)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {key: key for key in _SETTINGS}, optional=True)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    task.set_cpu_request(compute.cpu).set_cpu_limit(compute.cpu)
    task.set_memory_request(compute.memory).set_memory_limit(compute.memory)
    seconds = int(compute.hours * 3600)
    kubernetes.set_timeout(task, seconds)
    # Argo counts this limit from the start of the FIRST attempt, so it must cover all attempts.
    longest = (RETRIES + 1) * seconds + 2**RETRIES * _BACKOFF_SECONDS
    task.set_retry(RETRIES, f"{_BACKOFF_SECONDS}s", backoff_factor=2, backoff_max_duration=f"{longest}s")


def configure_tracking(task: Any, run_variable: str | None = None) -> None:
    """Give a task's pod the variables of the tracking services.

    Args:
        task: Task of the pipeline that logs to them.
        run_variable: Variable for the run's id, which is the value of this label in every pod of the run (KFP's
            backend/src/common/util/consts.go); None for a task that gets it as an argument.
    """
    kubernetes.use_secret_as_env(task, TRACKING_SECRET, {name: name for name in VARIABLES}, optional=True)
    if run_variable:
        kubernetes.use_field_path_as_env(task, run_variable, "metadata.labels['pipeline/runid']")


def place_on_device(task: Any, resources: Resources) -> None:
    """Request the accelerator of ``resources`` for a task's pod, with its node selector, tolerations and /dev/shm."""
    if resources.accelerator:
        task.set_accelerator_type(resources.accelerator.type).set_accelerator_limit(resources.accelerator.count)
    if resources.shm:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=resources.shm)  # noqa: S108
    for key, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.pod_tolerations():
        kubernetes.add_toleration(task, **toleration.model_dump())


def largest_resources(recipes: Sequence[Recipe]) -> Resources:
    """Return resources on one machine that suffice for each of the recipes.

    Accelerators, node selectors and tolerations are those of the families that use an accelerator.
    """
    on_device = [recipe.resources for recipe in recipes if recipe.train.uses_accelerator]
    accelerators = [resources.accelerator for resources in on_device if resources.accelerator]
    tolerations = [toleration for resources in on_device for toleration in resources.tolerations]
    return Resources(
        **_largest([recipe.resources for recipe in recipes]).model_dump(),
        accelerator=max(accelerators, key=lambda accelerator: accelerator.count, default=None),
        shm=max((resources.shm for resources in on_device if resources.shm), key=_bytes, default=None),
        node_selector={key: value for resources in on_device for key, value in resources.node_selector.items()},
        tolerations=[one for index, one in enumerate(tolerations) if one not in tolerations[:index]],
        export=_largest([recipe.resources.export for recipe in recipes]),
    )


def training_and_export(resources: Resources) -> Compute:
    """Return CPU, memory and time limit of a step that both trains and exports."""
    largest = _largest([resources, resources.export])
    return largest.model_copy(update={"hours": min(resources.hours + resources.export.hours, 168)})


def _largest(computes: Sequence[Compute]) -> Compute:
    return Compute(
        cpu=max((compute.cpu for compute in computes), key=_cores),
        memory=max((compute.memory for compute in computes), key=_bytes),
        hours=max(compute.hours for compute in computes),
    )


def _cores(cpu: str) -> float:
    return float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)


def _bytes(memory: str) -> int:
    digits = memory.rstrip("KMGTPEi")
    return int(digits) * int(_UNITS.get(memory.removeprefix(digits), 1))
