"""What a step's pod asks of Kubernetes. A laptop ignores all of it."""

from typing import Any

from kfp import kubernetes

from textgate.components.contracts import Compute, Recipe

S3_SECRET = "textgate-s3"  # noqa: S105 (its name)
"""Secret with keys for the store; where there is none, boto3 finds the pod's own identity."""
HUB_SECRET = "textgate-hub"  # noqa: S105
"""Secret with a token of the hub, for checkpoints that ask for one."""
CONFIG_MAP = "textgate"
"""Config map that says where the store is. All three may be missing: k8s/base holds templates."""
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION")

USER = 10001
"""Who the images' processes are."""
RETRIES = 2
_BACKOFF_SECONDS = 60
_WEEK = 7 * 24 * 3600
DEADLINE_SECONDS = _WEEK
"""A run that takes longer is ended."""
TTL_SECONDS = _WEEK
"""How long after its end a run's pods and their logs stay; what it made stays."""
EXECUTOR_TEMPLATE = "metadata-0-3-retry-system-container-impl"
"""What KFP's backend calls the template of these pods (argocompiler/container.go): by their numbers of annotations and
labels, and whether they are tried again. Their names are made of it, and the log of a pod is asked for by its name."""


def ask(task: Any, recipe: Recipe, compute: Compute) -> None:
    """What every step gets: labels, credentials, a user, ``compute``, and what happens when a try fails or hangs.

    Every step may be tried again: what it writes is written whole or not at all, and promote finds what its first try
    has done.
    """
    for key, value in (("name", "textgate"), ("instance", recipe.name), ("component", task.name)):
        kubernetes.add_pod_label(task, f"app.kubernetes.io/{key}", value)
    kubernetes.use_secret_as_env(task, S3_SECRET, {key: key for key in _KEYS}, optional=True)
    kubernetes.use_secret_as_env(task, HUB_SECRET, {"HF_TOKEN": "HF_TOKEN"}, optional=True)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {key: key for key in _SETTINGS}, optional=True)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    task.set_cpu_request(compute.cpu).set_cpu_limit(compute.cpu)
    task.set_memory_request(compute.memory).set_memory_limit(compute.memory)
    seconds = int(compute.hours * 3600)
    kubernetes.set_timeout(task, seconds)
    # Argo ends a second try this long after the FIRST one began, so it must hold all of them.
    longest = (RETRIES + 1) * seconds + 2**RETRIES * _BACKOFF_SECONDS
    task.set_retry(RETRIES, f"{_BACKOFF_SECONDS}s", backoff_factor=2, backoff_max_duration=f"{longest}s")


def place_on_device(task: Any, recipe: Recipe) -> None:
    """On a node with the devices that the recipe asks for."""
    resources = recipe.resources
    if resources.accelerator:
        task.set_accelerator_type(resources.accelerator.type).set_accelerator_limit(resources.accelerator.count)
    if resources.shm:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=resources.shm)  # noqa: S108
    for key, value in resources.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
