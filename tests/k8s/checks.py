"""Checks of rendered manifests: schema errors that a cluster rejects, and settings that this project does not allow."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from kubernetes_validate import utils as kubernetes

from textgate.components.contracts import InputError
from textgate.pipelines.runners.cron import six_fields

Manifest = dict[str, Any]

VERSIONS = list(dict.fromkeys(kubernetes.all_versions()))[-3:]
# The schemas are one megabyte, which would be parsed again for every manifest.
kubernetes.schema_contents = cache(kubernetes.schema_contents)
_OF_OTHERS = {"NetworkPolicy/textgate-store"}
"""Policies for pods of Kubeflow Pipelines: its SeaweedFS."""
_SERVERS = {"Deployment", "StatefulSet", "DaemonSet", "ServingRuntime", "InferenceService"}


def problems(manifests: list[Manifest], expected: set[str], custom: dict[str, Any]) -> list[str]:
    """Return the problems of the manifests of one kustomization, a sentence each.

    Args:
        manifests: Rendered manifests.
        expected: KIND/NAME of each manifest that must be there.
        custom: JSON Schema of each custom resource by "API KIND".
    """
    if not manifests:
        return ["it renders to nothing"]
    names = {_name(manifest) for manifest in manifests}
    return [
        *(f"{missing} is missing" for missing in sorted(expected - names)),
        *(
            f"{_name(manifest)}: {problem}"
            for manifest in manifests
            for problem in (*_schema(manifest, custom), *_secrets(manifest), *_cron(manifest), *_pods(manifest))
        ),
        *_references(manifests),
    ]


def _name(manifest: Manifest) -> str:
    return f"{manifest.get('kind')}/{manifest.get('metadata', {}).get('name')}"


def _schema(manifest: Manifest, custom: dict[str, Any]) -> Iterator[str]:
    kind = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
    if kind in custom:
        error = best_match(Draft202012Validator(custom[kind]).iter_errors(manifest))
        if error:
            yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        return
    for version in VERSIONS:
        if problem := _schema_error(json.dumps(manifest, sort_keys=True), version):
            yield f"Kubernetes {version}: {problem}"


@cache
def _schema_error(manifest: str, version: str) -> str | None:
    """Return the schema error of a manifest; cached, because overlays share most of their manifests."""
    try:
        kubernetes.validate(json.loads(manifest), version, strict=True)
    except kubernetes.ValidationError as error:
        return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    except kubernetes.SchemaNotFoundError as error:
        return str(error.message)
    return None


def _secrets(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "Secret":
        yield "a secret must not be in git"


def _cron(manifest: Manifest) -> Iterator[str]:
    if manifest["kind"] == "CronJob":
        schedule = str(manifest["spec"].get("schedule"))
        if len(schedule.split()) != 5:
            yield f"the schedule {schedule!r} does not have the five fields of cron"
            return
        try:
            six_fields(schedule)
        except InputError as error:
            yield str(error)


def _pods(manifest: Manifest) -> Iterator[str]:
    spec = pod_spec(manifest)
    containers = spec.get("containers", []) if spec else []
    for container in [*(spec or {}).get("initContainers", []), *containers]:
        name = container.get("name")
        yield from (f"container {name}: {problem}" for problem in _container(container, spec or {}))
    if manifest["kind"] in _SERVERS:
        for container in containers:
            for probe in ("readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"container {container.get('name')}: it has no {probe}"
    model = spec.get("model") if spec else None
    if model and model.get("runtime") != "textgate":  # KServe's own runtime has limits for small models
        yield from (f"model: {problem}" for problem in _resources(model))


def pod_spec(manifest: Manifest) -> Manifest | None:
    """Return the pod spec of a manifest, if it has one."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "ServingRuntime":
        return dict(spec)
    if manifest["kind"] == "InferenceService":
        return dict(spec["predictor"])
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec["template"]["spec"] if "template" in spec else None


def pod_labels(manifest: Manifest) -> dict[str, str] | None:
    """Return the labels of the pods that a manifest creates; None if it creates none."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "InferenceService":
        return dict(spec["predictor"].get("labels", {}))
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return dict(spec["template"]["metadata"].get("labels", {})) if "template" in spec else None


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Return whether a label selector (matchLabels, and matchExpressions with the operator In) matches."""
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )


def _container(container: Manifest, pod: Manifest) -> Iterator[str]:
    image = str(container.get("image"))
    _, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        yield f"the image {image} has no tag"
    elif tag == "latest" or tag.startswith("latest-"):
        yield f"the image {image} is not pinned to a version"
    yield from _resources(container)
    security = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "it may run as root"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "its processes may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "it keeps capabilities"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "it does not restrict system calls"


def _resources(container: Manifest) -> Iterator[str]:
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            if resource not in resources.get(kind, {}):
                yield f"it has no {resource} in its {kind}"


def _references(manifests: list[Manifest]) -> Iterator[str]:
    """Yield references to manifests that do not exist, and selectors that match no pods."""
    names = {_name(manifest) for manifest in manifests}
    labels = [pod for manifest in manifests if (pod := pod_labels(manifest)) is not None]
    for manifest in manifests:
        spec = manifest.get("spec", {})
        selector = {
            "Service": {"matchLabels": spec.get("selector")},
            "PodDisruptionBudget": spec.get("selector"),
            "NetworkPolicy": spec.get("podSelector"),
        }.get(manifest["kind"])
        if selector is not None and not any(selects(selector, pod) for pod in labels):
            if _name(manifest) not in _OF_OTHERS:
                yield f"{_name(manifest)}: its selector matches no pods"
        targets = [
            f"{role['kind']}/{role['name']}" for role in (manifest.get("roleRef"), spec.get("scaleTargetRef")) if role
        ]
        pod = pod_spec(manifest) or {}
        if "serviceAccountName" in pod:
            targets.append(f"ServiceAccount/{pod['serviceAccountName']}")
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            maps = [
                source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source
            ]
            targets += [f"ConfigMap/{name}" for name in maps]
        yield from (
            f"{_name(manifest)}: it refers to {target}, which does not exist"
            for target in targets
            if target not in names
        )
