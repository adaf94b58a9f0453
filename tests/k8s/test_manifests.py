"""Every kustomization renders to valid manifests that pass our checks, and each check finds a deliberate fault."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from k8s.checks import VERSIONS, Manifest, pod_spec, problems
from k8s.conftest import K8S

from textgate.components.contracts import ModelBundle, Resources
from textgate.components.image import GPU_IMAGE
from textgate.components.storage import Registry, Store
from textgate.components.train.trainjob_manifest import train_job
from textgate.pipelines.cli.serve import serve
from textgate.pipelines.pods import CONFIG_MAP, HUB_SECRET, S3_SECRET, USER

SERVING = {
    f"{kind}/textgate-serving" for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
}
BASE = {
    *("ConfigMap/textgate", "CronJob/textgate-retrain"),
    *(f"ServiceAccount/textgate-{name}" for name in ("serving", "retrain", "gc")),
    *(f"{kind}/textgate-{name}" for kind in ("Role", "RoleBinding") for name in ("submit", "train")),
    *(f"NetworkPolicy/textgate-{name}" for name in ("default", "serving", "retrain", "store")),
}
LAUNCHER = {"ConfigMap/kfp-launcher"}
EXPECTED = {
    "base": BASE | SERVING,
    "overlays/kind": {
        *(BASE | SERVING) - {"HorizontalPodAutoscaler/textgate-serving"},
        *(f"{kind}/textgate-minio" for kind in ("Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy")),
    },
    "components/gpu": {
        *(BASE | SERVING),
        *(f"{kind}/textgate-llm" for kind in ("ConfigMap", "Deployment", "Service", "NetworkPolicy")),
    },
    "components/kserve": {
        *BASE,
        *("ServingRuntime/textgate", "InferenceService/quickstart", "NetworkPolicy/textgate-knative"),
        *(f"{kind}/textgate-llm" for kind in ("ConfigMap", "InferenceService", "NetworkPolicy")),
    },
    "components/profile": BASE | SERVING,
    "components/tls": BASE | SERVING,
    "components/kfp-launcher-seaweedfs": BASE | SERVING | LAUNCHER,
    "components/kfp-launcher-s3-keys": BASE | SERVING | LAUNCHER,
    "components/serving-gpu": BASE | SERVING,
    "components/gc": BASE | SERVING | {"CronJob/textgate-gc"},
    "components/least-privilege": BASE
    | SERVING
    | {f"{kind}/textgate-steps" for kind in ("ServiceAccount", "Role", "RoleBinding")},
    "components/workload-identity": BASE | SERVING | LAUNCHER,
}

Rendered = Callable[[str], list[Manifest]]


def test_every_kustomization_is_tested() -> None:
    named = {str(path.parent.relative_to(K8S)) for path in K8S.rglob("kustomization.yaml")}
    # The last one is a part of other components.
    assert named == {*EXPECTED, "access", "secrets", "components/kfp-launcher-settings"}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_kustomization_renders_to_valid_manifests(
    name: str, rendered: Rendered, request: pytest.FixtureRequest
) -> None:
    # The schemas take seconds to build, so they are requested only if needed.
    custom = request.getfixturevalue("custom") if name == "components/kserve" else {}
    assert problems(rendered(name), EXPECTED[name], custom) == []
    named = {f"{manifest['kind']}/{manifest['metadata']['name']}" for manifest in rendered(name)}
    assert named == EXPECTED[name]


def test_the_three_newest_minor_versions_are_checked() -> None:
    minors = [tuple(map(int, version.split(".")[:2])) for version in VERSIONS]
    assert len(minors) == 3
    assert minors[0] >= (1, 35)
    assert [minor for _, minor in minors] == list(range(minors[0][1], minors[0][1] + 3))


@pytest.mark.parametrize("name", [name for name, names in EXPECTED.items() if "Deployment/textgate-serving" in names])
def test_only_pods_with_a_label_reach_the_grpc_port(name: str, rendered: Rendered) -> None:
    (policy,) = (
        manifest["spec"]
        for manifest in rendered(name)
        if (manifest["kind"], manifest["metadata"]["name"]) == ("NetworkPolicy", "textgate-serving")
    )
    sources = {port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]}
    client = {"matchLabels": {"textgate/grpc-client": "allowed"}}
    assert sources == {8080: None, 8081: [{"namespaceSelector": {}, "podSelector": client}]}


@pytest.mark.parametrize("name", [name for name, names in EXPECTED.items() if "Deployment/textgate-serving" in names])
def test_a_pod_waits_for_its_first_model_and_lingers_before_it_ends(name: str, rendered: Rendered) -> None:
    (pod,) = (
        manifest["spec"]["template"]["spec"]
        for manifest in rendered(name)
        if (manifest["kind"], manifest["metadata"]["name"]) == ("Deployment", "textgate-serving")
    )
    (container,) = pod["containers"]
    # A pod without a model is live and not ready: it must not be restarted, nor receive requests.
    probes = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")]
    assert probes == ["/v2/health/live", "/v2/health/ready", "/v2/health/live"]
    defaults = {parameter.opts[0]: parameter.default for parameter in serve.params}
    options = defaults | dict(argument.split("=") for argument in container["args"])
    linger, drain = float(options["--linger-seconds"]), float(options["--drain-seconds"])
    assert linger >= 5
    assert pod["terminationGracePeriodSeconds"] >= linger + drain + 15


# Deliberate faults: each function takes the rendered manifests by KIND/NAME and breaks one thing.


def _container(named: dict[str, Manifest]) -> Manifest:
    container: Manifest = named["Deployment/textgate-serving"]["spec"]["template"]["spec"]["containers"][0]
    return container


def _without(key: str, *path: str) -> Callable[[dict[str, Manifest]], Any]:
    def break_it(named: dict[str, Manifest]) -> None:
        section = _container(named)
        for name in path:
            section = section[name]
        del section[key]

    return break_it


def _security(**changed: Any) -> Callable[[dict[str, Manifest]], Any]:
    return lambda named: _container(named)["securityContext"].update(changed)


def _image(image: str) -> Callable[[dict[str, Manifest]], Any]:
    return lambda named: _container(named).update(image=image)


def _cron(schedule: str) -> Callable[[dict[str, Manifest]], Any]:
    return lambda named: named["CronJob/textgate-retrain"]["spec"].update(schedule=schedule)


def _set(name: str, **changed: Any) -> Callable[[dict[str, Manifest]], Any]:
    return lambda named: named[name]["spec"].update(changed)


BROKEN: dict[str, tuple[Callable[[dict[str, Manifest]], Any], str]] = {
    "nothing": (lambda named: named.clear(), "it renders to nothing"),
    "no cron job": (lambda named: named.pop("CronJob/textgate-retrain"), "CronJob/textgate-retrain is missing"),
    "no policy for the store": (
        lambda named: named.pop("NetworkPolicy/textgate-store"),
        "NetworkPolicy/textgate-store is",
    ),
    "unknown field": (_set("Deployment/textgate-serving", replica=2), "'replica' was unexpected"),
    "wrong type": (_set("Deployment/textgate-serving", replicas="two"), "'two' is not of type"),
    "nothing required": (
        lambda named: named["Deployment/textgate-serving"]["spec"].pop("selector"),
        "'selector' is a required",
    ),
    "unknown kind": (lambda named: named["Service/textgate-serving"].update(kind="Servise"), "Couldn't find schema"),
    "cron: the hour": (_cron("0 25 * * 1"), "the hour must be 0 to 23"),
    "cron: four fields": (_cron("0 3 * *"), "does not have the five fields of cron"),
    "cron: six fields": (_cron("0 0 3 * * 1"), "does not have the five fields of cron"),
    "cron: words": (_cron("0 3 * * someday"), "the day of the week must be"),
    "cron: a date that does not exist": (_cron("0 3 31 2 *"), "matches no date"),
    "latest": (_image("textgate/serving:latest"), "textgate/serving:latest is not pinned to a version"),
    "latest of a flavour": (_image("textgate/serving:latest-gpu"), "is not pinned to a version"),
    "no tag": (_image("registry:5000/textgate/serving"), "has no tag"),
    "no limits": (_without("limits", "resources"), "it has no cpu in its limits"),
    "no limit of memory": (_without("memory", "resources", "limits"), "it has no memory in its limits"),
    "no requests": (_without("requests", "resources"), "it has no memory in its requests"),
    "no readiness probe": (_without("readinessProbe"), "it has no readinessProbe"),
    "no liveness probe": (_without("livenessProbe"), "it has no livenessProbe"),
    "no security context": (_without("securityContext"), "it keeps capabilities"),
    "root": (_security(runAsUser=0), "it may run as root"),
    "any user": (_security(runAsNonRoot=False), "it may run as root"),
    "more privileges": (_security(allowPrivilegeEscalation=True), "its processes may gain privileges"),
    "writable root": (_security(readOnlyRootFilesystem=False), "its root file system can be written"),
    "capabilities": (_security(capabilities={"drop": ["NET_RAW"]}), "it keeps capabilities"),
    "system calls": (_security(seccompProfile={"type": "Unconfined"}), "it does not restrict system calls"),
    "a cron job's container without limits": (
        lambda named: named["CronJob/textgate-retrain"]["spec"]["jobTemplate"]["spec"]["template"]["spec"][
            "containers"
        ][0].pop("resources"),
        "CronJob/textgate-retrain: container retrain: it has no memory in its limits",
    ),
    "a secret in git": (
        lambda named: named["ConfigMap/textgate"].update(kind="Secret"),
        "a secret must not be in git",
    ),
    "a policy of nothing": (
        _set("NetworkPolicy/textgate-retrain", podSelector={"matchLabels": {"app": "x"}}),
        "NetworkPolicy/textgate-retrain: its selector matches no pods",
    ),
    "a service of nothing": (_set("Service/textgate-serving", selector={"app": "x"}), "its selector matches no pods"),
    "no account": (
        lambda named: named.pop("ServiceAccount/textgate-serving"),
        "refers to ServiceAccount/textgate-serving",
    ),
    "no role": (
        lambda named: named.pop("Role/textgate-train"),
        "RoleBinding/textgate-train: it refers to Role/textgate-train",
    ),
    "no settings": (lambda named: named.pop("ConfigMap/textgate"), "it refers to ConfigMap/textgate"),
}
BROKEN_KSERVE: dict[str, tuple[Callable[[dict[str, Manifest]], Any], str]] = {
    "unknown field": (
        lambda named: named["InferenceService/quickstart"]["spec"]["predictor"].update(canaryTrafic=10),
        "'canaryTrafic' was unexpected",
    ),
    "wrong type": (
        lambda named: named["InferenceService/quickstart"]["spec"]["predictor"].update(canaryTrafficPercent="ten"),
        "canaryTrafficPercent: 'ten' is not of type",
    ),
    "unknown field of a container": (
        lambda named: named["ServingRuntime/textgate"]["spec"]["containers"][0].update(arguments=[]),
        "'arguments' was unexpected",
    ),
    "nothing required": (
        lambda named: named["ServingRuntime/textgate"]["spec"].pop("containers"),
        "'containers' is a required property",
    ),
    "no probe": (
        lambda named: named["ServingRuntime/textgate"]["spec"]["containers"][0].pop("readinessProbe"),
        "ServingRuntime/textgate: container kserve-container: it has no readinessProbe",
    ),
    "root": (
        lambda named: named["ServingRuntime/textgate"]["spec"]["containers"][0]["securityContext"].pop("runAsUser"),
        "it may run as root",
    ),
    "pods that no policy selects": (
        lambda named: named["InferenceService/quickstart"]["spec"]["predictor"].pop("labels"),
        "NetworkPolicy/textgate-serving: its selector matches no pods",
    ),
    "a model without limits": (
        lambda named: named["InferenceService/textgate-llm"]["spec"]["predictor"]["model"].pop("resources"),
        "model: it has no memory in its limits",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_fault_is_found(case: str, rendered: Rendered) -> None:
    _assert_broken("base", *BROKEN[case], rendered, {})


@pytest.mark.parametrize("case", BROKEN_KSERVE)
def test_a_fault_of_a_custom_resource_is_found(case: str, rendered: Rendered, custom: dict[str, Any]) -> None:
    _assert_broken("components/kserve", *BROKEN_KSERVE[case], rendered, custom)


def test_a_kind_without_a_schema_is_a_problem(rendered: Rendered) -> None:
    named = problems(rendered("components/kserve"), EXPECTED["components/kserve"], {})
    assert any("Couldn't find schema for kind InferenceService" in problem for problem in named)


def _assert_broken(
    name: str, break_it: Callable[[dict[str, Manifest]], Any], expected: str, rendered: Rendered, custom: dict[str, Any]
) -> None:
    manifests = copy.deepcopy(rendered(name))
    named = {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}
    break_it(named)
    assert any(expected in problem for problem in problems(list(named.values()), EXPECTED[name], custom))


def test_the_train_job_of_the_train_step_is_valid(custom: dict[str, Any]) -> None:
    resources = {
        "nodes": 2,
        "accelerator": {"count": 1},
        "node_selector": {"nvidia.com/gpu.present": "true"},
        "tolerations": [{"key": "pool", "value": "gpu"}],
    }
    main = {"name": "main", "image": GPU_IMAGE, "env": [{"name": "AWS_REGION", "value": "us-east-1"}]}
    pod = {
        "metadata": {"name": "train", "uid": "1"},
        "spec": {"serviceAccountName": "pipeline-runner", "securityContext": {"runAsUser": USER}, "containers": [main]},
    }
    job = train_job("train-1", ["torchrun", "train.py"], Resources.model_validate(resources), pod)
    assert problems([job], {"TrainJob/train-1"}, custom) == []
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert node["template"]["spec"]["template"]["spec"]["tolerations"] == [
        {"key": "pool", "operator": "Equal", "value": "gpu"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ]
    job["spec"]["trainer"]["nodes"] = 2
    assert "'nodes' was unexpected" in str(problems([job], set(), custom))


def test_the_names_that_steps_use_exist_in_the_base_and_the_secrets(rendered: Rendered) -> None:
    secrets = {manifest["metadata"]["name"]: manifest for manifest in rendered("secrets")}
    assert set(secrets) == {S3_SECRET, HUB_SECRET, "textgate-keys"}
    assert set(secrets[S3_SECRET]["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(secrets[HUB_SECRET]["data"]) == {"HF_TOKEN"}
    assert CONFIG_MAP in {manifest["metadata"]["name"] for manifest in rendered("base")}


def test_git_ignores_the_secrets() -> None:
    files = [f"k8s/secrets/{name}" for name in ("s3.env", "hub.env", "keys.txt")]
    ignored = subprocess.run(
        ["git", "check-ignore", *files], cwd=K8S.parent, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == files
    examples = list((K8S / "secrets").glob("*.example"))
    assert len(examples) == 2
    assert all(line.endswith("=") for example in examples for line in example.read_text().split())


def test_workload_identity_names_a_role_and_no_keys(rendered: Rendered) -> None:
    accounts = [m for m in rendered("components/workload-identity") if m["kind"] == "ServiceAccount"]
    assert len(accounts) == 3
    assert all("eks.amazonaws.com/role-arn" in account["metadata"]["annotations"] for account in accounts)


def test_the_pod_of_an_llm_downloads_its_version(
    rendered: Rendered, tmp_path: Path, store: Store, environment: dict[str, str], bundle_folder: Path
) -> None:
    """Run the script in the manifest against a real store; a changed file is an error."""
    version = Registry(store).publish("films", bundle_folder)
    scripts = set()
    for name, server in (("gpu", "vllm serve {}"), ("kserve", "--model_dir={}")):
        pods = [pod_spec(manifest) or {} for manifest in rendered(f"components/{name}")]
        (pod,) = (pod for pod in pods if "initContainers" in pod)
        (container,) = pod["initContainers"]
        assert container["command"] == ["python", "-c"]
        script, folder = container["args"]
        scripts.add(script)
        containers = pod["containers"] if "containers" in pod else [pod["model"]]
        assert server.format(folder) in " ".join([*containers[0].get("command", []), *containers[0]["args"]])
    (script,) = scripts

    def fetch(into: Path) -> subprocess.CompletedProcess[str]:
        settings = {"MODEL": "films", "VERSION": version, "TEXTGATE_BUCKET": store.bucket}
        return subprocess.run(
            [sys.executable, "-c", script, into],
            env={**os.environ, **environment, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    assert fetch(tmp_path / "model").returncode == 0
    assert ModelBundle.load(tmp_path / "model").fingerprint.startswith(version)
    store.put(f"models/films/versions/{version}/weights.bin", b"changed")
    changed = fetch(tmp_path / "changed")
    assert changed.returncode != 0
    assert "weights.bin" in changed.stderr
    assert not (tmp_path / "changed").exists()
