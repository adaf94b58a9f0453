"""HTTP server that plays a cluster: enough of the Kubernetes API for kubectl's server-side apply and for the tests.

Objects are stored under their URL, so routes need no table but that of the kinds. Pods do not run: each Job's pod has
the log that ``logs`` gives for its command, a Deployment's pods are available at once, and an eviction takes one
reading of the pods. RBAC is evaluated from the Roles that were applied.
Discovery: kubernetes.io/docs/reference/using-api/api-concepts.
"""

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

Json = dict[str, Any]
TRAINER = "trainer.kubeflow.org/v1alpha1"
KINDS = {
    "v1": ["ConfigMap", "Event", "Namespace", "Pod", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "batch/v1": ["CronJob", "Job"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
    TRAINER: ["TrainJob"],
}
_OBJECT = re.compile(
    r"(?P<list>/apis?/(?:[\w.]+/)?\w+/(?:namespaces/(?P<space>[\w-]+)/)?(?P<plural>\w+))/(?P<name>[\w.-]+)"
)

_REMOVED = re.compile(r"/apis?/.*/namespaces/([\w-]+)(?:/jobs/([\w-]+))?")


class RefusedError(Exception):
    """Answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies".lower() if kind.endswith("y") else f"{kind}s".lower()


@dataclass
class FakeCluster:
    """State of the API server."""

    logs: Callable[[str], tuple[list[str], bool]]
    """Returns, for the command of a Job's container, the lines of its log so far, in which NAMESPACE stands for the
    namespace, and whether it succeeds."""
    kinds: dict[str, list[str]] = field(default_factory=lambda: dict(KINDS))
    """Kinds by API version."""
    controlled: bool = True
    """Whether TrainJobs have a controller."""
    refusals: dict[str, RefusedError] = field(default_factory=dict)
    """By part of ``METHOD path``: a request that is refused."""
    objects: dict[str, Json] = field(default_factory=dict)
    """By URL path."""
    requests: list[str] = field(default_factory=list)
    """``METHOD path`` of each request."""
    applied: list[Json] = field(default_factory=list)
    """Bodies of server-side apply."""
    log_read: threading.Event = field(default_factory=threading.Event)
    """Set once a pod's log was read."""
    evicted: str = ""
    """Pod that is being evicted."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def handle(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """Return the answer to a request, text or JSON."""
        self.requests.append(f"{method} {path}")
        for part, refusal in self.refusals.items():
            if part in f"{method} {path}":
                raise refusal
        if discovered := self._discover(path):
            return discovered
        match method, path.rpartition("/")[2]:
            case "POST", "subjectaccessreviews":
                return {**body, "status": {"allowed": self._allowed(body["spec"])}}
            case "POST", "eviction":
                return self._evict(path.removesuffix("/eviction"))
            case "GET", "log":
                self.log_read.set()
                text = "\n".join([*self.logs(self.objects[path.removesuffix("/log")]["command"])[0], ""])
                return text.replace("NAMESPACE", path.split("/")[4])
            case "GET", "status":
                path = path.removesuffix("/status")
        if method == "POST":
            return self._put(f"{path}/{body['metadata']['name']}", body)
        if method == "PATCH":
            self.applied += [body] if "apiVersion" in body else []
            return self._put(path, body)
        if path.rpartition("/")[2] in self._plurals():
            return self._list(path, query.get("labelSelector", [""])[0])
        if path not in self.objects:
            raise RefusedError(404, f'"{path}" not found')
        if method == "DELETE":
            self._delete(path)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        return self.objects[path]

    def _discover(self, path: str) -> Json | None:
        """Return the answer of the discovery API, without aggregation."""
        if path == "/version/":
            others = ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")
            return {"major": "1", "minor": "36", "gitVersion": "v1.36.0", **dict.fromkeys(others, "fake")}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path in ("/apis", "/apis/"):
            versions = [{"groupVersion": one, "version": one.split("/")[1]} for one in self.kinds if "/" in one]
            groups = [
                {"name": one["groupVersion"].split("/")[0], "versions": [one], "preferredVersion": one}
                for one in versions
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version not in self.kinds:
            return None
        resources = [
            {
                "name": _plural(kind),
                "kind": kind,
                "namespaced": kind != "Namespace",
                "verbs": ["get", "patch", "create"],
            }
            for kind in self.kinds[version]
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}

    def _plurals(self) -> set[str]:
        return {_plural(kind) for kinds in self.kinds.values() for kind in kinds}

    def _put(self, path: str, body: Json) -> Json:
        found = _OBJECT.fullmatch(path)
        assert found
        if found["plural"] not in self._plurals():
            raise RefusedError(404, "the server could not find the requested resource")
        space = f"/api/v1/namespaces/{found['space']}"
        if found["space"] and space not in self.objects:
            raise RefusedError(404, f'namespaces "{found["space"]}" not found')
        stored = self.objects.setdefault(path, {"metadata": {"uid": f"uid-{next(self._numbers)}", "generation": 0}})
        identity = {key: stored["metadata"][key] for key in ("uid", "generation")}
        stored.update(body if "apiVersion" in body or "spec" not in body or "template" not in body["spec"] else {})
        stored["metadata"] = {**stored["metadata"], **body.get("metadata", {}), **identity, "name": found["name"]}
        stored["metadata"]["generation"] += 1
        if found["plural"] == "deployments":
            self._run_deployment(space, stored)
        if found["plural"] == "jobs":
            self._run_job(space, stored)
        return stored

    def _run_deployment(self, space: str, deployment: Json) -> None:
        name, replicas = deployment["metadata"]["name"], deployment["spec"].setdefault("replicas", 2)
        for path in [one for one in self.objects if one.startswith(f"{space}/pods/{name}-")]:
            del self.objects[path]
        for _ in range(replicas):
            self._add_pod(space, name, deployment["spec"]["template"])
        numbers = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas)
        deployment["status"] = {**numbers, "observedGeneration": deployment["metadata"]["generation"]}

    def _add_pod(self, space: str, owner: str, template: Json, labels: Json | None = None) -> None:
        number = next(self._numbers)
        path = f"{space}/pods/{owner}-{number}"
        container = template["spec"]["containers"][0]
        self.objects[path] = {
            "kind": "Pod",
            "metadata": {
                "name": path.rpartition("/")[2],
                "uid": f"uid-{number}",
                "labels": {**template["metadata"]["labels"], **(labels or {})},
            },
            "spec": template["spec"],
            "status": {"phase": "Running"},
            "command": " ".join([*container.get("command", []), *container.get("args", [])]),
            "template": template,
        }

    def _run_job(self, space: str, job: Json) -> None:
        name = job["metadata"]["name"]
        self._add_pod(space, name, job["spec"]["template"], {"batch.kubernetes.io/job-name": name})
        command = next(one["command"] for path, one in self.objects.items() if path.startswith(f"{space}/pods/{name}-"))
        condition = "Complete" if self.logs(command)[1] else "Failed"
        job["status"] = {"conditions": [{"type": condition, "status": "True"}]}
        if "follow.py train-on-two" in command and TRAINER in self.kinds:
            self._put(f"/apis/{TRAINER}/{space.removeprefix('/api/v1/')}/trainjobs/train-on-two", {"spec": {}})

    def _list(self, path: str, selector: str) -> Json:
        plural = path.rpartition("/")[2]
        wanted = dict(one.split("=") for one in selector.split(",") if one)
        items = [
            one
            for name, one in list(self.objects.items())
            if name.startswith(f"{path}/") and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        if self.evicted and plural == "pods":
            self._replace_evicted()
        if plural == "trainjobs" and self.controlled:  # the step deletes its job after the test has read it once
            for one in items:
                self.objects.pop(f"{path}/{one['metadata']['name']}")
                one["status"] = {"jobsStatus": [{"name": "node"}]}
        return {"kind": "List", "apiVersion": "v1", "items": items}

    def _evict(self, path: str) -> Json:
        if self.evicted:
            raise RefusedError(429, "Cannot evict pod as it would violate the pod's disruption budget.")
        self.evicted = path
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _replace_evicted(self) -> None:
        pod = self.objects.pop(self.evicted)
        owner = pod["metadata"]["name"].rpartition("-")[0]
        self._add_pod(self.evicted.partition("/pods/")[0], owner, pod["template"])
        self.evicted = ""

    def _delete(self, path: str) -> None:
        # A namespace with all that is in it; a Job with its pod, which removes its TrainJob on SIGTERM.
        space, job = _REMOVED.fullmatch(path).groups()
        within = f"/namespaces/{space}/"
        gone = (within,) if not job else (f"{within}pods/{job}-", f"{within}trainjobs/")
        for one in [one for one in self.objects if one == path or any(part in one for part in gone)]:
            del self.objects[one]

    def _allowed(self, spec: Json) -> bool:
        """Evaluate the Roles of a namespace, as RBAC does."""
        account, asked = spec["user"].split(":")[-1], spec["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        space = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{asked['namespace']}"
        bindings = [one for path, one in self.objects.items() if path.startswith(f"{space}/rolebindings/")]
        rules = [
            rule
            for binding in bindings
            if any(subject["name"] == account for subject in binding["subjects"])
            for rule in self.objects[f"{space}/roles/{binding['roleRef']['name']}"]["rules"]
        ]
        return any(
            asked["verb"] in rule["verbs"] and asked["group"] in rule["apiGroups"] and resource in rule["resources"]
            for rule in rules
        )


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = 201 if self.command == "POST" else 200
        try:
            with self.server.lock:
                # Server-side apply sends YAML, of which JSON is a part.
                body = yaml.safe_load(data) if data else None
                answer = self.server.cluster.handle(self.command, unquote(parts.path), parse_qs(parts.query), body)
        except RefusedError as refusal:
            status = refusal.status
            answer = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "message": str(refusal),
                "code": status,
            }
        text = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)


@contextmanager
def serving(cluster: FakeCluster, folder: Path) -> Iterator[Path]:
    """Serve the API of ``cluster``; yield the path of a kubeconfig for it."""
    server = _Server(cluster)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "fake",
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "fake", "user": {"token": "a-token"}}],
            }
        )
    )
    try:
        yield kubeconfig
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
