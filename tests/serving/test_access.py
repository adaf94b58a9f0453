"""Access to the server (keys, roles, TLS, loopback), and the data that it stores or sends."""

import gzip
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from serving.server_process import TEXTGATE, ServerProcess, start_server

from textgate.components.storage import Registry
from textgate.components.storage.feedback_log import read_feedback_log
from textgate.serving.keys import new_key


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """A user key and an admin key, and the file that accepts them."""
    keys = {role: new_key(role, role) for role in ("user", "admin")}
    path = tmp_path / "keys"
    path.write_text("".join(f"{line}\n" for _, line in keys.values()))
    path.chmod(0o600)
    return {"file": str(path), **{role: key for role, (key, _) in keys.items()}}


@pytest.fixture
def server_with_keys(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path, keys: dict[str, str]
) -> Iterator[ServerProcess]:
    """A server that requires keys."""
    arguments = ("--keys", keys["file"], "--host", "0.0.0.0")
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, *arguments) as server:
        server.http = server.http.replace("0.0.0.0", "127.0.0.1")
        yield server


def test_with_keys_a_request_without_a_key_is_rejected(server_with_keys: ServerProcess, keys: dict[str, str]) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}, {"Authorization": keys["user"]}):
        response = server_with_keys.classify(["a"], headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    for headers in ({"Authorization": f"Bearer {keys['user']}"}, {"X-API-Key": keys["user"]}):
        assert server_with_keys.classify(["a"], headers=headers).status_code == 200
    assert server_with_keys.get("/metrics").status_code == 401
    for path in ("/", "/openapi.json", "/v2/health/live", "/v2/health/ready"):
        assert server_with_keys.get(path).status_code == 200
    # The log has the name of the key, never the key.
    server_with_keys.wait_for("request", status=200, key="user")
    assert keys["user"] not in str(server_with_keys.log_lines)


def test_only_an_admin_loads_and_unloads(server_with_keys: ServerProcess, keys: dict[str, str]) -> None:
    user, admin = ({"Authorization": f"Bearer {keys[role]}"} for role in ("user", "admin"))
    unload, load = ("/v2/repository/models/small/unload", "/v2/repository/models/small/load")
    assert server_with_keys.post(unload, {}, headers=user).status_code == 403
    assert server_with_keys.classify(["a"], headers=user).status_code == 200
    assert server_with_keys.post(unload, {}, headers=admin).status_code == 200
    assert server_with_keys.classify(["a"], headers=user).status_code == 404
    assert server_with_keys.get("/v2/health/ready").status_code == 503
    index = server_with_keys.post("/v2/repository/index", {}, headers=user).json()
    assert [(entry["name"], entry["state"]) for entry in index] == [("small", "UNAVAILABLE")]
    assert server_with_keys.post("/v2/repository/models/none/load", {}, headers=admin).status_code == 404
    assert server_with_keys.post(load, {}, headers=admin).status_code == 200
    assert server_with_keys.classify(["a"], headers=user).status_code == 200


def test_without_keys_the_server_listens_on_loopback_only(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = [TEXTGATE, "serve", "--home", str(tmp_path), "--host", "0.0.0.0", "--port", "0", "--grpc-port", "0"]
    done = subprocess.run(arguments, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: 0.0.0.0 can be reached from other machines, so API keys are required")


def test_tls_by_files(registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    arguments = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with start_server(environment, registry.store.bucket, tmp_path, served_bundle, *arguments) as server:
        assert server.http.startswith("https://")
        assert server.classify(["a"], verify=str(certificate)).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            server.classify(["a"])
    for wrong in (("--tls-cert", str(certificate)), ("--tls-cert", str(key), "--tls-key", str(key))):
        with (
            pytest.raises(
                AssertionError,
                match=r"Error: .*(needs|not) a certificate and its private key",
            ),
            start_server(environment, registry.store.bucket, tmp_path, served_bundle, *wrong),
        ):
            pass


def test_feedback_and_predictions_are_written_to_the_store(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    texts = ["word1 good", "word2 bad"]
    with start_server(
        environment, registry.store.bucket, tmp_path, served_bundle, "--log-predictions", "100"
    ) as server:
        answer = server.classify(texts).json()
        feedback = {"request_id": answer["request_id"], "index": 1, "label": "good"}
        assert server.post("/v1/feedback", feedback).status_code == 202
    (row,) = read_feedback_log(registry.store, "feedback", "small").to_pylist()
    predicted = answer["predictions"][1]
    assert {name: row[name] for name in ("request_id", "index", "label", "version", "predicted", "score")} == {
        **feedback,
        "version": answer["version"],
        "predicted": predicted["label"],
        "score": predicted["score"],
    }
    logged = read_feedback_log(registry.store, "predictions", "small").to_pylist()
    assert [row["text"] for row in logged] == texts
    assert [row["label"] for row in logged] == [prediction["label"] for prediction in answer["predictions"]]


def test_a_span_is_sent_for_each_request_when_a_collector_is_named(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    with collector() as (address, received):
        variables = {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": address}
        with start_server(variables, registry.store.bucket, tmp_path, served_bundle) as server:
            trace = "0af7651916cd43dd8448eb211c80319c"
            server.classify(["a secret"], headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    sent = [
        span
        for body in received
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [(span.name, span.trace_id.hex()) for span in sent] == [("/v1/models/{model}:classify", trace)]
    assert b"secret" not in b"".join(received)


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Run an OTLP collector; yield its address and the bodies that it receives."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", received
        http.shutdown()
        thread.join()
