"""HTTP stub of a cluster with Kubeflow Trainer: the routes of the Kubernetes API that a train step uses.

The nodes of a TrainJob are local processes. They start as Trainer's torch plugin and JobSet start their pods: with the
manifest's command and variables plus those of torchrun, and without the environment of this process. Alternatively the
nodes are scripted: pods that log given lines and leave the job in a given state.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "team"
JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:pipeline-runner"
TOKEN = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
    for part in ({"alg": "RS256"}, {"sub": ACCOUNT}, "signature")
)
NO_ANSWER = 0
"""Status of a refusal: the request is carried out, and the connection ends without an answer."""
HANGS = -1
"""Status of a refusal: the request is not answered before the client gives up."""


class Node:
    """One node of a job: a process, or scripted log lines."""

    def __init__(self, command: list[str] | None, env: dict[str, str], lines: list[str]) -> None:
        self.lines: list[str] = []
        for line in lines:
            self._log(line)
        self.process: subprocess.Popen[str] | None = None
        if command:
            self.process = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
            self._reader = threading.Thread(target=self._read)
            self._reader.start()

    def _log(self, line: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        self.lines.append(f"{stamp}{len(self.lines) % 1000:03d}Z {line}")

    def _read(self) -> None:
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            self._log(line.rstrip("\n"))
        self.process.wait()

    def stop(self) -> None:
        if self.process:
            if self.process.poll() is None:
                os.killpg(self.process.pid, 9)
            self._reader.join()


class Cluster:
    """State of the API server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pod: dict[str, Any] = {}
        """Manifest of the step's pod."""
        self.secrets: dict[str, dict[str, str]] = {}
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.script: tuple[list[list[str]], list[dict[str, str]]] | None = None
        """Log lines of each pod and conditions of the job; None runs the job's command."""
        self.refusals: list[tuple[str, int, str | dict[str, Any]]] = []
        """Part of a ``METHOD path `` (a space ends it) that is rejected once, with a status, and the message or fields
        of the Status; an empty message answers as a route that does not exist."""
        self.requests: list[str] = []
        """``METHOD path`` of each request."""
        self.nodes: dict[str, list[Node]] = {}
        self.polled = threading.Event()
        """Set once the state of a job has been requested."""

    def start(self, job: dict[str, Any]) -> None:
        self.created.append(job)
        trainer = job["spec"]["trainer"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        nodes = []
        for rank in range(trainer["numNodes"]):
            folder = self.folder / f"{job['metadata']['name']}-{rank}"
            folder.mkdir()
            env = {
                # Set by a pod's image and machine.
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "OMP_NUM_THREADS": "1",
                "GLOO_SOCKET_IFNAME": "lo",
                # pkg/runtime/framework/plugins/torch/torch.go, EnforceMLPolicy.
                "PET_NNODES": str(trainer["numNodes"]),
                "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
                "PET_NODE_RANK": str(rank),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
                **{variable["name"]: self._value(variable) for variable in trainer["env"]},
            }
            lines = self.script[0][rank] if self.script else []
            nodes.append(Node(None if self.script else trainer["command"], env, lines))
        self.nodes[job["metadata"]["name"]] = nodes

    def _value(self, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        reference = variable["valueFrom"]["secretKeyRef"]
        return self.secrets[reference["name"]][reference["key"]]

    def conditions(self, name: str) -> list[dict[str, str]]:
        if self.script:
            return self.script[1]
        codes = [node.process.poll() for node in self.nodes[name] if node.process]
        if any(codes):
            return [{"type": "Failed", "status": "True", "reason": "JobFailed", "message": "a pod failed"}]
        done = all(code == 0 for code in codes)
        return [{"type": "Complete", "status": "True"}] if done else []

    def pods(self, name: str) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {
                    "name": f"{name}-node-0-{rank}-abcde",
                    "annotations": {"batch.kubernetes.io/job-completion-index": str(rank)},
                },
                "status": {"phase": "Running"},
            }
            for rank in range(len(self.nodes.get(name, [])))
        ]

    def log(self, pod: str) -> str:
        name, _, rest = pod.partition("-node-0-")
        return "\n".join([*self.nodes[name][int(rest[0])].lines, ""])

    def delete(self, name: str) -> None:
        self.deleted.append(name)
        for node in self.nodes.pop(name, []):
            node.stop()


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def _answer(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _handle(self) -> None:
        cluster, parts = self.server.cluster, urlsplit(self.path)
        path, query = parts.path, parse_qs(parts.query)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = path.removeprefix(JOBS).strip("/")
        cluster.requests.append(f"{self.command} {path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "Unauthorized")
        for refusal in cluster.refusals:
            if refusal[0] in f"{self.command} {path} ":
                cluster.refusals.remove(refusal)
                if refusal[1] not in (NO_ANSWER, HANGS):
                    return self._refuse(*refusal[1:])
                if refusal[1] == NO_ANSWER and self.command == "POST":
                    cluster.start(json.loads(body))
                if refusal[1] == HANGS:
                    self.rfile.read(1)  # until the client closes the connection
                self.close_connection = True
                return None
        match self.command, path:
            case "POST", _ if path == JOBS:
                cluster.start(json.loads(body))
                return self._answer(201, json.loads(body))
            case "GET", _ if path.startswith(JOBS) and name in cluster.nodes:
                conditions = cluster.conditions(name)
                cluster.polled.set()
                return self._answer(200, {"metadata": {"name": name}, "status": {"conditions": conditions}})
            case "DELETE", _ if path.startswith(JOBS) and name in cluster.nodes:
                cluster.delete(name)
                return self._answer(200, {"kind": "Status", "status": "Success"})
            case "GET", _ if path == PODS:
                (label,) = query["labelSelector"]
                pods = cluster.pods(label.removeprefix("jobset.sigs.k8s.io/jobset-name="))
                return self._answer(200, {"kind": "PodList", "apiVersion": "v1", "items": pods})
            case "GET", _ if path.endswith("/log"):
                assert (query["container"], query["timestamps"]) == (["node"], ["True"])
                return self._answer(200, cluster.log(path.split("/")[-2]))
            case "GET", _ if path == f"{PODS}/{cluster.pod['metadata']['name']}":
                return self._answer(200, cluster.pod)
        return self._refuse(404, f"there is no {path}")

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815

    def _refuse(self, status: int, message: str | dict[str, Any]) -> None:
        if not message:
            return self._answer(status, "404 page not found\n")
        fields = {"message": message} if isinstance(message, str) else message
        return self._answer(status, {"kind": "Status", "status": "Failure", "code": status, **fields})

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        super().__init__(("127.0.0.1", 0), _Handler)


@contextmanager
def serving(cluster: Cluster) -> Iterator[Path]:
    """Serve the API of ``cluster``; yield the path of a kubeconfig for it."""
    server = _Server(cluster)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kubeconfig = cluster.folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "stub", "user": "step", "namespace": NAMESPACE}}],
                "clusters": [{"name": "stub", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "step", "user": {"token": TOKEN}}],
            }
        )
    )
    try:
        yield kubeconfig
    finally:
        for name in list(cluster.nodes):
            cluster.delete(name)
        server.shutdown()
        thread.join()
        server.server_close()
