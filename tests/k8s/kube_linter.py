"""The checks that kube-linter 0.7 enables by default; it is a Go program that no Python package brings.

Names and meaning are those of https://docs.kubelinter.io/#/generated/checks, the list of defaults that of its package
internal/defaultchecks. The other defaults are in ``checks``: dangling-service, non-existent-service-account,
latest-tag, no-read-only-root-fs, run-as-non-root, privilege-escalation-container, drop-net-raw-capability,
unset-cpu-requirements, unset-memory-requirements. The schemas of Kubernetes cover no-extensions-v1beta.
"""

import re
from collections.abc import Iterator
from typing import Any

from k8s.checks import Manifest, pod_labels, pod_spec

_HOST_FOLDERS = {"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"}
_UNSAFE_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.", "net.")


def findings(manifests: list[Manifest]) -> list[str]:
    """Return what kube-linter reports, as "CHECK: KIND/NAME"."""
    return [
        f"{check}: {manifest['kind']}/{manifest['metadata']['name']}"
        for manifest in manifests
        for check in (*_budget(manifest), *_service(manifest, manifests), *_pod(manifest, manifests))
    ]


def _budget(manifest: Manifest) -> Iterator[str]:
    spec = manifest.get("spec", {})
    if manifest["kind"] == "PodDisruptionBudget":
        if spec.get("maxUnavailable") in (0, "0%"):
            yield "pdb-max-unavailable"
        if spec.get("minAvailable") == "100%":
            yield "pdb-min-available"
        if "unhealthyPodEvictionPolicy" not in spec:
            yield "pdb-unhealthy-pod-eviction-policy"


def _service(manifest: Manifest, manifests: list[Manifest]) -> Iterator[str]:
    if manifest["kind"] != "Service":
        return
    selector = manifest["spec"]["selector"].items()
    ports: set[int | str] = set()
    for other in manifests:
        if selector <= (pod_labels(other) or {}).items():
            for container in (pod_spec(other) or {}).get("containers", []):
                ports |= _ports(container)
    if not {port.get("targetPort", port["port"]) for port in manifest["spec"]["ports"]} <= ports:
        yield "invalid-target-ports"


def _pod(manifest: Manifest, manifests: list[Manifest]) -> Iterator[str]:
    pod, labels = pod_spec(manifest), pod_labels(manifest)
    if pod is None:
        return
    if manifest["kind"] == "Deployment":
        if not manifest["spec"]["selector"]["matchLabels"].items() <= (labels or {}).items():
            yield "mismatching-selector"
        if _replicas(manifest, manifests) >= 2 and not _is_spread(pod):
            yield "no-anti-affinity"
    if "serviceAccount" in pod:
        yield "deprecated-service-account-field"
    for field in ("IPC", "Network", "PID"):
        if pod.get(f"host{field}"):
            yield f"host-{field.lower()}"
    folders = [volume["hostPath"]["path"] for volume in pod.get("volumes", []) if "hostPath" in volume]
    if _HOST_FOLDERS & {*folders}:
        yield "sensitive-host-mounts"
    if any(folder.endswith("docker.sock") for folder in folders):
        yield "docker-sock"
    if any(sysctl["name"].startswith(_UNSAFE_SYSCTLS) for sysctl in pod.get("securityContext", {}).get("sysctls", [])):
        yield "unsafe-sysctls"
    for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
        yield from _container(container)


def _container(container: Manifest) -> Iterator[str]:
    variables = container.get("env", [])
    names = [variable["name"] for variable in variables]
    if len({*names}) < len(names):
        yield "duplicate-env-var"
    if any(re.search("secret", variable["name"], re.IGNORECASE) and variable.get("value") for variable in variables):
        yield "env-var-secret"
    if container.get("securityContext", {}).get("privileged"):
        yield "privileged-container"
    ports = _ports(container)
    if 22 in ports:
        yield "ssh-port"
    for probe in ("liveness", "readiness", "startup"):
        request = container.get(f"{probe}Probe", {}).get("httpGet")
        if request and request["port"] not in ports:
            yield f"{probe}-port"


def _ports(container: Manifest) -> set[int | str]:
    """Return numbers and names of a container's ports."""
    return {port[key] for port in container.get("ports", []) for key in ("containerPort", "name") if key in port}


def _replicas(deployment: Manifest, manifests: list[Manifest]) -> int:
    """Return the number of pods, or the smallest one that a HorizontalPodAutoscaler allows."""
    scalers = [
        manifest["spec"]
        for manifest in manifests
        if manifest["kind"] == "HorizontalPodAutoscaler"
        and manifest["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    ]
    return int(scalers[0]["minReplicas"] if scalers else deployment["spec"].get("replicas", 1))


def _is_spread(pod: dict[str, Any]) -> bool:
    constraints = [constraint["topologyKey"] for constraint in pod.get("topologySpreadConstraints", [])]
    return "podAntiAffinity" in pod.get("affinity", {}) or "kubernetes.io/hostname" in constraints
