"""kube-linter's default checks find nothing in the overlays, and each finds a deliberate fault."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from k8s.checks import Manifest
from k8s.kube_linter import findings
from k8s.test_manifests import EXPECTED

Rendered = Callable[[str], list[Manifest]]
Named = dict[str, Manifest]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_manifests_of_a_kustomization_have_no_findings(name: str, rendered: Rendered) -> None:
    assert findings(rendered(name)) == []


def test_the_documented_overlay_has_no_findings(applied: tuple[object, str]) -> None:
    assert findings(list(yaml.safe_load_all(applied[1]))) == []


def _pod(named: Named) -> Any:
    return named["Deployment/textgate-serving"]["spec"]["template"]["spec"]


def _container(named: Named) -> Any:
    return _pod(named)["containers"][0]


def _host_path(path: str) -> Callable[[Named], Any]:
    return lambda named: _pod(named)["volumes"].append({"name": "host", "hostPath": {"path": path}})


def _probe(name: str) -> Callable[[Named], Any]:
    return lambda named: _container(named)[f"{name}Probe"]["httpGet"].update(port="web")


def _budget(**changed: Any) -> Callable[[Named], Any]:
    return lambda named: named["PodDisruptionBudget/textgate-serving"]["spec"].update(changed)


FAULTS: dict[str, Callable[[Named], Any]] = {
    "pdb-max-unavailable": _budget(maxUnavailable=0),
    "pdb-min-available": _budget(minAvailable="100%"),
    "pdb-unhealthy-pod-eviction-policy": lambda named: named["PodDisruptionBudget/textgate-serving"]["spec"].pop(
        "unhealthyPodEvictionPolicy"
    ),
    "invalid-target-ports": lambda named: named["Service/textgate-serving"]["spec"]["ports"][0].update(
        targetPort="web"
    ),
    "mismatching-selector": lambda named: named["Deployment/textgate-serving"]["spec"]["selector"].update(
        matchLabels={"app": "x"}
    ),
    "no-anti-affinity": lambda named: _pod(named).pop("topologySpreadConstraints"),
    "deprecated-service-account-field": lambda named: _pod(named).update(serviceAccount="textgate-serving"),
    "host-ipc": lambda named: _pod(named).update(hostIPC=True),
    "host-network": lambda named: _pod(named).update(hostNetwork=True),
    "host-pid": lambda named: _pod(named).update(hostPID=True),
    "sensitive-host-mounts": _host_path("/etc"),
    "docker-sock": _host_path("/run/docker.sock"),
    "unsafe-sysctls": lambda named: _pod(named)["securityContext"].update(
        sysctls=[{"name": "net.core.somaxconn", "value": "1"}]
    ),
    "duplicate-env-var": lambda named: _container(named)["env"].append({"name": "TEXTGATE_HOME", "value": "/tmp"}),
    "env-var-secret": lambda named: _container(named)["env"].append({"name": "A_SECRET", "value": "text"}),
    "privileged-container": lambda named: _container(named)["securityContext"].update(privileged=True),
    "ssh-port": lambda named: _container(named)["ports"].append({"name": "ssh", "containerPort": 22}),
    "liveness-port": _probe("liveness"),
    "readiness-port": _probe("readiness"),
    "startup-port": _probe("startup"),
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_check_finds_its_fault(check: str, rendered: Rendered) -> None:
    manifests = copy.deepcopy(rendered("base"))
    FAULTS[check]({f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests})
    (finding,) = findings(manifests)
    assert finding.startswith(f"{check}: ")
