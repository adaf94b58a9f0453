"""The overlay that the documentation shows, rendered as written, and facts that an overlay states in one place."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from k8s.checks import Manifest, pod_labels, pod_spec, problems, selects
from k8s.conftest import documented_files, overlay_files
from k8s.test_manifests import BASE, LAUNCHER, SERVING

from textgate.components.version import __version__
from textgate.pipelines.cli.serve import serve
from textgate.pipelines.pods import S3_SECRET

Render = Callable[[dict[str, str]], list[Manifest]]
Rendered = Callable[[str], list[Manifest]]

RENDERED = ["base", "overlays/kind", "components/gc", "components/gpu", "components/kserve", "components/tls"]
"""Together they create every kind of pod."""
TOGETHER = [
    ("kfp-launcher-s3-keys", "gc", "tls", "gpu"),
    ("kfp-launcher-seaweedfs", "gc", "profile"),
    ("workload-identity", "gc", "tls", "kserve"),
]
IMAGES = ("serving", "pipeline", "train-gpu")


def _named(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}


def _namespaces(manifests: list[Manifest]) -> set[str | None]:
    """Return the namespaces of manifests, all of them of namespaced kinds, and of the subjects of role bindings."""
    subjects = [subject for manifest in manifests for subject in manifest.get("subjects", [])]
    return {
        *(manifest["metadata"].get("namespace") for manifest in manifests),
        *(subject.get("namespace") for subject in subjects),
    }


def test_the_documented_overlay_is_complete_and_in_its_namespace(applied: tuple[Path, str]) -> None:
    manifests = list(yaml.safe_load_all(applied[1]))
    assert yaml.safe_load(documented_files()["kustomization.yaml"])["namespace"] == "kubeflow"
    assert _namespaces(manifests) == {"kubeflow"}
    secrets = {name for name in _named(manifests) if name.startswith("Secret/")}
    assert secrets == {f"Secret/textgate-{name}" for name in ("s3", "hub", "keys")}
    expected = BASE | SERVING | LAUNCHER | {"CronJob/textgate-gc"}
    assert _named(manifests).keys() == expected | secrets
    others = [manifest for manifest in manifests if manifest["kind"] != "Secret"]
    assert problems(others, expected, {}) == []


def test_the_documented_overlay_names_each_image_once(applied: tuple[Path, str]) -> None:
    images = re.findall(rf"\S*textgate/(?:{'|'.join(IMAGES)}):\S+", applied[1])
    assert set(images) == {f"registry.example.com/textgate/{name}:{__version__}" for name in IMAGES}


@pytest.mark.parametrize("components", TOGETHER, ids="+".join)
def test_components_may_be_listed_in_any_order(components: tuple[str, ...], render_overlay: Render) -> None:
    first, last = (
        _named(render_overlay(overlay_files(*order, namespace="films"))) for order in (components, components[::-1])
    )
    assert _namespaces(list(first.values())) == {"films"}
    assert "ConfigMap/kfp-launcher" in first
    assert last == first


@pytest.mark.parametrize("components", TOGETHER, ids="+".join)
def test_an_image_is_changed_in_one_place(components: tuple[str, ...], render_overlay: Render) -> None:
    images = [{"name": f"textgate/{name}", "newName": f"mirror/{name}", "newTag": "1.2.3"} for name in IMAGES]
    text = yaml.safe_dump_all(render_overlay(overlay_files(*components, images=images)))
    assert "textgate/serving" not in text
    assert __version__ not in re.findall(r"(?:textgate|mirror)/\S*:(\S+)", text)
    assert set(re.findall(r"mirror/\S+", text)) == {f"mirror/{name}:1.2.3" for name in IMAGES}


def test_the_steps_of_a_retraining_run_in_the_images_of_the_overlay(render_overlay: Render) -> None:
    digest = f"sha256:{'1' * 64}"
    images = [{"name": f"textgate/{name}", "newName": f"mirror/{name}", "digest": digest} for name in IMAGES]
    cron = _named(render_overlay(overlay_files(images=images)))["CronJob/textgate-retrain"]
    (container,) = (pod_spec(cron) or {})["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["TEXTGATE_IMAGE"] == container["image"] == f"mirror/pipeline@{digest}"
    assert environment["TEXTGATE_GPU_IMAGE"] == f"mirror/train-gpu@{digest}"


@pytest.mark.parametrize(
    ("launcher", "url", "host"),
    [
        ("kfp-launcher-s3-keys", "http://minio.store:9000", "minio.store:9000"),
        ("kfp-launcher-s3-keys", "https://s3.example.com", "s3.example.com"),
        ("workload-identity", "https://s3.moon-1.amazonaws.com", "s3.moon-1.amazonaws.com"),
    ],
)
def test_the_store_is_changed_in_one_place(launcher: str, url: str, host: str, render_overlay: Render) -> None:
    """The launcher's keys are those of backend/src/v2/config/s3.go of kubeflow/pipelines; it ignores unknown ones."""
    settings = {"AWS_ENDPOINT_URL": url, "AWS_REGION": "moon-1", "TEXTGATE_BUCKET": "texts"}
    manifests = render_overlay(overlay_files(launcher, "gc", "gpu", settings=settings))
    documented = yaml.safe_load(documented_files()["settings.yaml"])["data"]
    text = yaml.safe_dump_all(manifests)
    assert [documented[key] for key in settings if documented[key] in text] == []
    data = _named(manifests)["ConfigMap/kfp-launcher"]["data"]
    assert data["defaultPipelineRoot"] == "s3://texts/pipelines"
    default = yaml.safe_load(data["providers"])["s3"]["default"]
    assert (default["endpoint"], default["region"]) == (host, "moon-1")
    assert default["disableSSL"] is url.startswith("http://")
    if launcher == "workload-identity":
        assert default["credentials"] == {"fromEnv": True}
    else:
        secret = {"secretName": S3_SECRET, "accessKeyKey": "AWS_ACCESS_KEY_ID", "secretKeyKey": "AWS_SECRET_ACCESS_KEY"}
        assert default["forcePathStyle"] is True
        assert default["credentials"] == {"fromEnv": False, "secretRef": secret}


def test_the_launcher_can_use_the_store_of_kubeflow_pipelines(rendered: Rendered) -> None:
    data = _named(rendered("components/kfp-launcher-seaweedfs"))["ConfigMap/kfp-launcher"]["data"]
    assert data["defaultPipelineRoot"] == "s3://mlpipeline/textgate"
    default = yaml.safe_load(data["providers"])["s3"]["default"]
    assert default.keys() == {"endpoint", "region", "disableSSL", "forcePathStyle", "credentials"}
    assert set(default["credentials"]["secretRef"]) == {"secretName", "accessKeyKey", "secretKeyKey"}


@pytest.mark.parametrize("name", RENDERED)
def test_every_pod_is_selected_by_a_policy_that_denies_by_default(name: str, rendered: Rendered) -> None:
    policies = [manifest["spec"] for manifest in rendered(name) if manifest["kind"] == "NetworkPolicy"]
    for manifest in rendered(name):
        if (labels := pod_labels(manifest)) is not None:
            types = {
                kind for policy in policies if selects(policy["podSelector"], labels) for kind in policy["policyTypes"]
            }
            assert types == {"Ingress", "Egress"}, manifest["metadata"]["name"]


@pytest.mark.parametrize("name", RENDERED)
def test_the_store_and_kubeflow_pipelines_are_on_ports_that_the_policies_open(name: str, rendered: Rendered) -> None:
    named = _named(rendered(name))
    settings = named["ConfigMap/textgate"]["data"]
    store, kubeflow = (urlsplit(settings[key]) for key in ("AWS_ENDPOINT_URL", "KF_PIPELINES_ENDPOINT"))
    assert (store.port or 443) in _egress_ports(named["NetworkPolicy/textgate-default"])
    assert kubeflow.port in _egress_ports(named["NetworkPolicy/textgate-retrain"])


def _egress_ports(policy: Manifest) -> set[int]:
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


@pytest.mark.parametrize("name", ["base", "overlays/kind", "components/tls"])
def test_the_server_listens_on_the_ports_of_service_and_policy(name: str, rendered: Rendered) -> None:
    named = _named(rendered(name))
    container = _server(named)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": _default("--port"), "grpc": _default("--grpc-port")}
    service = named["Service/textgate-serving"]["spec"]["ports"]
    assert {port["targetPort"]: port["port"] for port in service} == ports
    rules = named["NetworkPolicy/textgate-serving"]["spec"]["ingress"]
    opened = [port["port"] for rule in rules for port in rule["ports"]]
    assert opened == [*ports.values()]


def _server(named: dict[str, Manifest]) -> Manifest:
    (container,) = named["Deployment/textgate-serving"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _default(option: str) -> Any:
    (default,) = (parameter.default for parameter in serve.params if option in parameter.opts)
    return default


def test_a_rollout_fits_on_a_node_of_two_cores_and_loses_no_capacity(rendered: Rendered) -> None:
    named = _named(rendered("base"))
    rollout = named["Deployment/textgate-serving"]["spec"]["strategy"]["rollingUpdate"]
    assert rollout == {"maxUnavailable": 0, "maxSurge": 1}
    scaler = named["HorizontalPodAutoscaler/textgate-serving"]["spec"]
    resources = _server(named)["resources"]
    requested = (scaler["minReplicas"] + rollout["maxSurge"]) * _cores(resources["requests"]["cpu"])
    # Kubernetes' own pods on a node with a control plane, as of kubeadm, request 0.95 cores.
    assert requested <= 2 - 0.95
    (metric,) = (metric["resource"]["target"] for metric in scaler["metrics"])
    assert metric["type"] == "AverageValue", "a percentage of the request would change with the request"
    assert _cores(metric["averageValue"]) < _cores(resources["limits"]["cpu"])


def test_a_pod_can_be_evicted_while_another_one_answers(rendered: Rendered) -> None:
    named = _named(rendered("base"))
    budget = named["PodDisruptionBudget/textgate-serving"]["spec"]
    replicas = named["HorizontalPodAutoscaler/textgate-serving"]["spec"]["minReplicas"]
    assert 1 <= budget["maxUnavailable"] < replicas
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_overlay_for_kind_fits_on_its_documented_machine(rendered: Rendered) -> None:
    requests = [
        container["resources"]["requests"]
        for manifest in rendered("overlays/kind")
        for container in (pod_spec(manifest) or {}).get("containers", [])
    ]
    assert sum(_cores(request["cpu"]) for request in requests) <= 0.5
    assert all(request["memory"].endswith("Mi") for request in requests)
    assert sum(int(request["memory"].removesuffix("Mi")) for request in requests) <= 1024


def _cores(quantity: str) -> float:
    return float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)


def test_the_documented_certificate_is_the_one_that_the_server_uses(render_overlay: Render) -> None:
    files = overlay_files("tls", resources=["certificate.yaml"])
    named = _named(render_overlay({**files, "certificate.yaml": documented_files()["certificate.yaml"]}))
    certificate = named["Certificate/textgate-serving"]
    namespace, service = certificate["metadata"]["namespace"], named["Service/textgate-serving"]
    assert {service["metadata"]["name"], f"{service['metadata']['name']}.{namespace}.svc"} <= {
        *certificate["spec"]["dnsNames"]
    }
    container = _server(named)
    (volume,) = (
        volume
        for volume in named["Deployment/textgate-serving"]["spec"]["template"]["spec"]["volumes"]
        if volume.get("secret", {}).get("secretName") == certificate["spec"]["secretName"]
    )
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == volume["name"])
    # A mount with subPath would never see a renewed certificate.
    assert mount == {"name": "tls", "mountPath": "/etc/textgate-tls", "readOnly": True}
    values = {variable["name"]: variable["value"] for variable in container["env"]}
    variables = {parameter.opts[0]: str(parameter.envvar) for parameter in serve.params}
    for option, file in (("--tls-cert", "tls.crt"), ("--tls-key", "tls.key")):
        assert values[variables[option]] == f"{mount['mountPath']}/{file}"
    probes = [container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "readiness", "liveness")]
    assert {probe["scheme"] for probe in probes} == {"HTTPS"}
    assert {port["appProtocol"] for port in service["spec"]["ports"]} == {"https"}
