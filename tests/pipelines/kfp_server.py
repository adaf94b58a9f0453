"""A fake server with the API of Kubeflow Pipelines 2.17.

Paths, names and responses follow backend/api/v2beta1/swagger and backend/src/apiserver of kubeflow/pipelines 2.17.0:
names with underscores, errors in the format of grpc-gateway, tasks derived from Argo's nodes (without ``pod_name``,
``error`` and ``executor_detail``, see issue 14007 there), and missing logs with status 200. A run advances by one step
each time it is requested.
"""

import json
import re
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

Json = dict[str, Any]
_BEGIN = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


class ApiError(Exception):
    """Error response of the API."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": message, "code": code, "message": message, "details": []}


@dataclass
class Plan:
    """Course of a run."""

    steps: list[str] = field(default_factory=lambda: ["ingest", "train", "promote", "record"])
    fails_at: str | None = None
    log: str = ""
    """Log of the last attempt of the failing step."""
    before: Callable[[str, Json], None] = lambda run, parameters: None
    """Called with the run's id and parameters before the run succeeds: writes the outputs of its steps."""
    state: str = ""
    """Final state, with no failed task."""
    meanwhile: Callable[[int], None] = lambda polls: None
    """Called each time the run is requested, with the number of earlier requests."""


@dataclass
class KfpServer:
    """State of the server, and the faults that it simulates."""

    token: str | None = None
    """Accepted token; without it requests need no token."""
    plan: Plan = field(default_factory=Plan)
    login_page: bool = False
    """Whether a login page answers all requests."""
    broken: bool = False
    """Whether every request fails with an internal error."""
    dropped_requests: int = 0
    """Number of the next requests whose connection is closed."""
    cookie: str | None = None
    address: str = ""
    pipelines: dict[str, Json] = field(default_factory=dict)
    versions: dict[str, Json] = field(default_factory=dict)
    files: dict[str, list[Any]] = field(default_factory=dict)
    """YAML documents of each uploaded version."""
    experiments: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    recurring: dict[str, Json] = field(default_factory=dict)
    polls: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    last_id: int = 0

    def identifier(self, kind: str) -> str:
        self.last_id += 1
        return f"{kind}-{self.last_id:04}"

    def answer(self, method: str, path: str, query: Json, body: bytes, kind: str) -> Json | str:
        """Return the response of the API: JSON, or the text of a log."""
        if self.broken:
            raise ApiError(500, 13, "Internal error: Failed to list recurring runs")
        resource = path.removeprefix("/apis/v2beta1/")
        if log := re.fullmatch(r"/apis/v1alpha1/runs/([^/]+)/nodes/([^/]+)/log", path):
            return self._log(log[1], log[2])
        if path == resource:
            raise ApiError(404, 5, "Not Found")
        match method, resource.split("/"):
            case "GET", ["healthz"]:
                return {
                    "commit_sha": "unknown",
                    "tag_name": "2.17.0",
                    "multi_user": False,
                    "pipeline_store": "database",
                }
            case "GET", ["pipelines"]:
                return {"pipelines": _filtered(self.pipelines, query)}
            case "POST", ["pipelines"]:
                return self._add("pipeline", self.pipelines, "pipeline_id", json.loads(body))
            case "POST", ["pipelines", "upload_version"]:
                return self._upload(query["name"], query["pipelineid"], kind, body)
            case "GET", ["pipelines", pipeline, "versions"]:
                own = {key: one for key, one in self.versions.items() if one["pipeline_id"] == pipeline}
                return {"pipeline_versions": _filtered(own, query)}
            case "GET", ["experiments"]:
                return {"experiments": _filtered(self.experiments, query)}
            case "POST", ["experiments"]:
                return self._add("experiment", self.experiments, "experiment_id", json.loads(body))
            case "POST", ["runs"]:
                return self._run(json.loads(body))
            case "GET", ["runs", run]:
                return self._poll(_known(self.runs, run))
            case "GET", ["recurringruns"]:
                return self._page(query)
            case "POST", ["recurringruns"]:
                return self._recur(json.loads(body))
            case "GET", ["recurringruns", one]:
                return _known(self.recurring, one)
            case "DELETE", ["recurringruns", one]:
                _known(self.recurring, one)
                del self.recurring[one]
                return {}
            case "POST", ["recurringruns", changed]:
                one, _, verb = changed.partition(":")
                _known(self.recurring, one).update(
                    {
                        "enable": {"mode": "ENABLE", "status": "ENABLED"},
                        "disable": {"mode": "DISABLE", "status": "DISABLED"},
                    }[verb]
                )
                return {}
        raise ApiError(404, 5, "Not Found")

    def _add(self, kind: str, known: dict[str, Json], key: str, one: Json) -> Json:
        if any(other["display_name"] == one["display_name"] for other in known.values()):
            raise ApiError(409, 6, f"Already exist error: the {kind} {one['display_name']}")
        one[key] = self.identifier(kind)
        known[one[key]] = one
        return one

    def _upload(self, name: str, pipeline: str, kind: str, body: bytes) -> Json:
        _known(self.pipelines, pipeline)
        parts = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).get_payload()
        (file,) = (part for part in parts if part.get_param("name", header="content-disposition") == "uploadfile")
        documents = list(yaml.load_all(file.get_payload(decode=True), yaml.CSafeLoader))
        if documents[0].get("schemaVersion") != "2.1.0":
            raise ApiError(400, 3, "KFP only supports schema version 2.1.0")
        version = self._add(
            "version", self.versions, "pipeline_version_id", {"display_name": name, "pipeline_id": pipeline}
        )
        self.files[version["pipeline_version_id"]] = documents
        return version

    def _references(self, body: Json) -> None:
        _known(self.experiments, body["experiment_id"])
        if "pipeline_spec" in body:  # kfp.Client sends a file without uploading it first.
            specification = body["pipeline_spec"]["pipeline_spec"]
        else:
            reference = body["pipeline_version_reference"]
            _known(self.pipelines, reference["pipeline_id"])
            version = _known(self.versions, reference["pipeline_version_id"])["pipeline_version_id"]
            specification = self.files[version][0]
        unknown = set(body["runtime_config"]["parameters"]) - set(
            specification["root"]["inputDefinitions"]["parameters"]
        )
        if unknown:
            raise ApiError(400, 3, f"Invalid input error: unknown parameters {sorted(unknown)}")

    def _run(self, body: Json) -> Json:
        self._references(body)
        body |= {"run_id": self.identifier("run"), "state": "PENDING", "created_at": _time(0)}
        self.runs[body["run_id"]] = body
        return body

    def _poll(self, run: Json) -> Json:
        """Return the run, one step further than at the last request."""
        seen = self.polls[run["run_id"]] = self.polls.get(run["run_id"], -1) + 1
        self.plan.meanwhile(seen)
        plan, workflow = self.plan, f"{run['display_name'].split()[0]}-x7k2p"
        reached = (
            plan.steps if plan.fails_at is None else [*plan.steps[: plan.steps.index(plan.fails_at)], plan.fails_at]
        )
        if plan.fails_at and "record" in plan.steps:
            reached = [*dict.fromkeys([*reached, "record"])]
        ended = seen > len(reached)
        if not ended:
            run["state"] = "RUNNING"
        elif plan.state or plan.fails_at:
            run["state"] = plan.state or "FAILED"
        elif run["state"] != "SUCCEEDED":
            plan.before(run["run_id"], run["runtime_config"]["parameters"])
            run["state"] = "SUCCEEDED"
        tasks: list[Json] = []
        for number, step in enumerate(reached[: max(seen, 0)]):
            state = "RUNNING" if number == seen - 1 and not ended else "SUCCEEDED"
            if step == plan.fails_at and state == "SUCCEEDED":
                state = "FAILED"
            tasks += _nodes(workflow, number, step, state)
        tasks.append(_task("root", 0, run["state"], []))
        return {**run, "run_details": {"task_details": tasks}}

    def _log(self, run: str, pod: str) -> str:
        workflow = f"{_known(self.runs, run)['display_name'].split()[0]}-x7k2p"
        step = self.plan.fails_at
        # Argo's names of pods: <workflow>-<template>-<number of the node>.
        if pod == f"{workflow}-metadata-0-3-retry-system-container-impl-{_number(f'{step}.executor(2)')}":
            return self.plan.log
        return json.dumps({"error_message": f"Failed to read logs for run {run}", "error_details": "pods not found"})

    def _recur(self, body: Json) -> Json:
        self._references(body)
        if len(body["trigger"]["cron_schedule"]["cron"].split()) != 6:
            raise ApiError(400, 3, "Schedule cron is not supported, expected 5 to 6 fields")
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise ApiError(400, 3, "The max concurrency of the recurring run must be in [1, 10]")
        body |= {"recurring_run_id": self.identifier("recurring"), "status": "ENABLED"}
        self.recurring[body["recurring_run_id"]] = body
        return body

    def _page(self, query: Json) -> Json:
        """Return two schedules per page, so that a client must read several pages."""
        first = int(query.get("page_token") or 0)
        known = list(self.recurring.values())
        answer: Json = {"recurringRuns": known[first : first + 2], "total_size": len(known)}
        return answer | ({"next_page_token": str(first + 2)} if first + 2 < len(known) else {})


def serve(state: KfpServer) -> ThreadingHTTPServer:
    """Start the server on a free port of the loopback interface and set ``state.address``."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            state.requests.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if state.dropped_requests:
                state.dropped_requests -= 1
                self.close_connection = True
                self.connection.close()
                return
            if state.login_page:
                self._write(200, "text/html; charset=utf-8", b"<html>Sign in</html>")
                return
            given = self.headers.get("Authorization"), self.headers.get("Cookie")
            if (state.token and given[0] != f"Bearer {state.token}") or (state.cookie and given[1] != state.cookie):
                refusal = {"error": "Unauthenticated: Request header error: there is no user identity header"}
                self._write(401, "application/json", json.dumps(refusal).encode())
                return
            query = {key: value[0] for key, value in parse_qs(parts.query).items()}
            try:
                response = state.answer(self.command, path, query, body, self.headers.get("Content-Type") or "")
            except ApiError as error:
                self._write(error.status, "application/json", json.dumps(error.body).encode())
                return
            text = isinstance(response, str)
            content = response.encode() if isinstance(response, str) else json.dumps(response).encode()
            self._write(200, "text/plain; charset=utf-8" if text else "application/json", content)

        def _write(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815 (names of the standard library)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def _known(known: dict[str, Json], key: str) -> Json:
    if key not in known:
        raise ApiError(404, 5, f"ResourceNotFoundError: {key} not found")
    return known[key]


def _filtered(known: dict[str, Json], query: Json) -> list[Json]:
    predicates = json.loads(query["filter"])["predicates"] if "filter" in query else []
    assert all(one["operation"] in ("EQUALS", 1) for one in predicates)  # kfp.Client sends the enum's number.
    return [one for one in known.values() if all(one[p["key"]] == p["stringValue"] for p in predicates)]


def _nodes(workflow: str, number: int, step: str, state: str) -> list[Json]:
    """Return the nodes of a step in Argo's graph: its driver, the step, the executor, and each attempt."""
    attempts = 3 if state == "FAILED" else 1
    attempt_nodes = [f"{workflow}-{_number(f'{step}.executor({one})')}" for one in range(attempts)]
    return [
        _task(f"{step}-driver", number, "SUCCEEDED", [f"{workflow}-{_number(step)}"]),
        _task(step, number, state, [f"{workflow}-{_number(f'{step}.executor')}"]),
        _task("executor", number, state, attempt_nodes, step),
        *(_task(f"executor({one})", number, state, [], step) for one in range(attempts)),
    ]


def _task(name: str, number: int, state: str, below: list[str], of: str = "") -> Json:
    task: Json = {"task_id": f"task-{number}-{of}-{name}", "display_name": name, "state": state}
    task |= {"create_time": _time(0), "start_time": _time(number), "end_time": _time(number + 1)}
    return task | {"child_tasks": [{"pod_name": node} for node in below]} if below else task


def _number(node: str) -> int:
    return zlib.crc32(node.encode())


def _time(minutes: int) -> str:
    return (_BEGIN + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
