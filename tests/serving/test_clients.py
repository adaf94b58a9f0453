"""Third-party clients, installed in an environment of their own, get the predictions of the bundle from a server."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from serving.server_process import ServerProcess

from textgate.components.contracts import ModelBundle
from textgate.components.inference import load_bundle

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv/clients/bin"
TEXTS = [
    "word1 good",
    "bad " * 40,
    "é 漢字 \U0001f600",
    "\x00\t\u200b",
    "",
    *(f"word{number} good" for number in range(40)),
]


@pytest.fixture(scope="module")
def expected(server: ServerProcess) -> dict[str, Any]:
    """Expected outputs for TEXTS, by the names of the tensors."""
    bundle, probabilities = ModelBundle.load(server.bundle), load_bundle(server.bundle).predict_proba(TEXTS)
    indices = bundle.calibration.predict(probabilities)
    return {
        "label": [bundle.labels[index] for index in indices],
        "score": probabilities[np.arange(len(TEXTS)), indices],
        "probabilities": probabilities,
        "truncated": [text.startswith("bad bad") for text in TEXTS],
        "version": bundle.fingerprint[:12],
        "labels": bundle.labels,
    }


def run_client(script: str, *arguments: str) -> Any:
    """Run a client's script on TEXTS; return the JSON that it prints."""
    assert ENVIRONMENT.exists(), "the clients are not installed: make test installs them"
    command = [ENVIRONMENT / "python", ROOT / "tests/clients" / script, *arguments]
    process = subprocess.run(command, input=json.dumps(TEXTS), capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def assert_answer(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    assert answer["label"] == expected["label"]
    assert answer["truncated"] == expected["truncated"]
    np.testing.assert_allclose(answer["score"], expected["score"], atol=1e-6)
    rows = np.reshape(answer["probabilities"], expected["probabilities"].shape)
    np.testing.assert_allclose(rows, expected["probabilities"], atol=1e-6)


def test_tritonclient_over_http(server: ServerProcess, expected: dict[str, Any]) -> None:
    answer = run_client("triton_http.py", urlsplit(server.http).netloc, server.model)
    assert answer["live"] is answer["ready"] is answer["model_ready"] is True
    assert answer["server"]["name"] == "textgate"
    assert answer["model"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    shapes = {output["name"]: output["shape"] for output in answer["model"]["outputs"]}
    assert shapes == {"label": [-1], "score": [-1], "probabilities": [-1, len(expected["labels"])], "truncated": [-1]}
    ready = {"name": server.model, "version": expected["version"], "state": "READY", "reason": ""}
    assert ready in answer["index"]
    for form in ("json", "binary"):
        assert_answer(answer[form], expected)
        assert answer[form]["response"] == {"model_name": server.model, "model_version": expected["version"], "id": "7"}
    np.testing.assert_allclose(answer["all_outputs"], expected["probabilities"], atol=1e-6)
    np.testing.assert_allclose(answer["asynchronous"], expected["probabilities"], atol=1e-6)
    assert answer["one_output"] == ["score"]
    assert answer["pinned"] == ["label", "score", "probabilities", "truncated"]
    model, version, output = answer["errors"]
    assert "no model 'nobody'" in model
    assert "version '000000000000'" in version
    assert "no output tensor 'logits'" in output


def test_tritonclient_over_grpc(server: ServerProcess, expected: dict[str, Any]) -> None:
    answer = run_client("triton_grpc.py", server.grpc, server.model)
    assert answer["live"] is answer["ready"] is answer["model_ready"] is True
    assert answer["server"]["name"] == "textgate"
    assert answer["model"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": ["-1"]}]
    assert answer["model"]["outputs"][2]["shape"] == ["-1", str(len(expected["labels"]))]
    assert {"name": server.model, "version": expected["version"], "state": "READY"} in answer["index"]
    assert_answer(answer["raw"], expected)
    assert answer["raw"]["response"] == {"model_name": server.model, "model_version": expected["version"], "id": "7"}
    assert answer["one_output"] == ["score"]
    assert answer["compressed"] == expected["label"]
    config = answer["config"]
    assert (config["name"], config["input"]) == (
        server.model,
        [{"name": "text", "data_type": "TYPE_STRING", "dims": ["-1"]}],
    )
    assert [(item["name"], item["data_type"]) for item in config["output"]] == [
        ("label", "TYPE_STRING"),
        ("score", "TYPE_FP64"),
        ("probabilities", "TYPE_FP64"),
        ("truncated", "TYPE_BOOL"),
    ]
    assert json.loads(config["parameters"]["labels"]["string_value"]) == expected["labels"]
    (statistics,) = answer["statistics"]
    assert (statistics["name"], statistics["version"]) == (server.model, expected["version"])
    # as_json has 64-bit numbers as strings; three requests of all texts came before.
    success = statistics["inference_stats"]["success"]
    assert int(success["count"]) >= 3
    assert int(statistics["inference_count"]) >= 3 * len(TEXTS)
    assert 1e5 < int(success["ns"]) / int(success["count"]) < 60e9
    assert answer["all_statistics"] == [server.model]
    model, version, output, unload, config_error, statistics_error, trace = answer["errors"]
    assert config_error[0] == statistics_error[0] == "StatusCode.NOT_FOUND"
    assert trace[0] == "StatusCode.UNIMPLEMENTED"
    assert model[0] == "StatusCode.NOT_FOUND"
    assert "no model 'nobody'" in model[1]
    assert version[0] == "StatusCode.NOT_FOUND"
    assert output == ["StatusCode.INVALID_ARGUMENT", output[1]]
    assert "no output tensor 'logits'" in output[1]
    assert unload[0] == "StatusCode.PERMISSION_DENIED"


def test_kserve(server: ServerProcess, expected: dict[str, Any]) -> None:
    answer = run_client("kserve_clients.py", server.http, server.grpc, server.model)
    for protocol in ("http", "grpc"):
        result = answer[protocol]
        assert result["live"] is result["ready"] is result["model_ready"] is True
        for form in ("listed", "binary"):
            assert_answer(result[form], expected)
            assert (result[form]["model"], result[form]["id"]) == (server.model, "7")
    # Over HTTP the client drops the version.
    assert answer["grpc"]["binary"]["version"] == expected["version"]


def test_hugging_face(server: ServerProcess, expected: dict[str, Any]) -> None:
    answer, loaded = run_client("hugging_face.py", f"{server.http}/models/{server.model}"), load_bundle(server.bundle)
    single = [loaded.predict_proba([text])[0] for text in TEXTS]
    for labels, top, row in zip(answer["all"], answer["top"], single, strict=True):
        order = np.argsort(-row, kind="stable")
        assert [label for label, _ in labels] == [expected["labels"][index] for index in order]
        np.testing.assert_allclose([score for _, score in labels], row[order], atol=1e-6)
        assert top == [labels[0][0]]


@pytest.mark.skipif(shutil.which("java") is None, reason="the JDK's client needs java")
def test_the_client_of_the_jdk(server: ServerProcess, expected: dict[str, Any]) -> None:
    url, body = f"{server.http}/v1/models/{server.model}:classify", json.dumps({"texts": TEXTS}).encode()
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", ROOT / "tests/clients/JavaClient.java", url]
    process = subprocess.run(command, input=body, capture_output=True, timeout=300)
    assert process.returncode == 0, process.stderr
    answers = [line.split(" ", 2) for line in process.stdout.decode().splitlines()]
    # Its default is HTTP/2, for which it sends ``Upgrade: h2c`` with the body of the first request.
    assert [answer[:2] for answer in answers] == [["HTTP_1_1", "200"]] * 2 + [["HTTP_2", "200"]] * 2
    for *_, answer in answers:
        assert [prediction["label"] for prediction in json.loads(answer)["predictions"]] == expected["label"]


SCHEMATHESIS = """
seed = 13
[parameters]
"path.model" = "{model}"
"path.version" = "{version}"
[generation]
max-examples = 10
database = "none"
[phases]
stateful.enabled = false
[checks]
enabled = false
not_a_server_error.enabled = true
response_schema_conformance.enabled = true
content_type_conformance.enabled = true
status_code_conformance.enabled = true
"""


def test_schemathesis(server: ServerProcess, expected: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS.format(model=server.model, version=expected["version"]))
    command = [ENVIRONMENT / "st", "run", f"{server.http}/openapi.json", "--no-color", "--suppress-health-check", "all"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    # Schemathesis prints this if an operation only returned errors.
    assert "Missing test data" not in process.stdout
