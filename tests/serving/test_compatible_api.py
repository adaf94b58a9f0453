"""Routes in the formats of other servers, and the same answer with a decision threshold on every route."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from serving.server_process import ServerProcess, promote_in_new_bucket, start_server

from textgate.components.contracts import Calibration, GateDecision, ModelBundle
from textgate.components.contracts.decision import Rule
from textgate.components.contracts.evaluation import Estimate
from textgate.components.inference import load_bundle
from textgate.serving import open_inference_pb2 as pb

TEXT = "word1 good"


@pytest.fixture(scope="module")
def probabilities(server: ServerProcess) -> dict[str, float]:
    """Probability of each label for TEXT, the most probable first."""
    loaded = load_bundle(server.bundle)
    row = loaded.predict_proba([TEXT])[0].tolist()
    return dict(sorted(zip(loaded.bundle.labels, row, strict=True), key=lambda item: -item[1]))


def as_entries(probabilities: dict[str, float]) -> list[dict[str, object]]:
    return [{"label": label, "score": pytest.approx(score, abs=1e-6)} for label, score in probabilities.items()]


def test_tei_answers_one_text_with_one_list(server: ServerProcess, probabilities: dict[str, float]) -> None:
    for body in ({"inputs": TEXT}, {"inputs": [TEXT]}, {"inputs": TEXT, "model": "small", "truncate": True}):
        assert server.post("/predict", body).json() == as_entries(probabilities)


def test_tei_answers_a_batch_with_a_list_of_lists(server: ServerProcess, probabilities: dict[str, float]) -> None:
    answer = server.post("/predict", {"inputs": [[TEXT], ["bad"], [TEXT]], "raw_scores": False}).json()
    assert answer[0] == answer[2] == as_entries(probabilities)
    assert answer[1][0]["label"] == "bad"


def test_vllm_answers_with_all_probabilities(server: ServerProcess, probabilities: dict[str, float]) -> None:
    response = server.post("/classify", {"model": "small", "input": [TEXT, "bad"], "user": "me"})
    answer = response.json()
    row = [pytest.approx(probabilities[label], abs=1e-6) for label in ("bad", "good")]
    assert answer["data"][0] == {"index": 0, "label": "good", "probs": row, "num_classes": 2}
    assert (answer["data"][1]["index"], answer["data"][1]["label"]) == (1, "bad")
    assert answer["id"] == f"classify-{response.headers['x-request-id']}"
    assert (answer["object"], answer["model"]) == ("list", "small")
    assert server.post("/classify", {"input": TEXT}).json()["data"] == [answer["data"][0]]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/predict", {"inputs": ["a", "b"]}, 422, "pairs are not read"),
        ("/predict", {"inputs": [["a", "b"]]}, 422, "pairs are not read"),
        ("/predict", {"inputs": [["a"], "b"]}, 422, "send a string, or several as [[string], [string], …]"),
        ("/predict", {"inputs": [["a", "b", "c"]]}, 422, "inputs[0]: Expected `array` of length <= 2"),
        ("/predict", {"inputs": []}, 422, "there is no text to classify"),
        ("/predict", {"inputs": "a", "raw_scores": True}, 422, "raw_scores: this server returns probabilities only"),
        ("/predict", {"inputs": "a " * 99, "truncate": False}, 422, "text 0 is longer than the maximum of small"),
        ("/predict", {"inputs": "a", "model": "nobody"}, 404, "no model 'nobody' is served here"),
        ("/classify", {"input": "a", "model": "nobody"}, 404, "no model 'nobody' is served here"),
        ("/classify", {"input": [1, 2]}, 422, "input[0]: Expected `str`, got `int`"),
        ("/classify", {"messages": []}, 422, "missing required field `input`"),
        (
            "/classify",
            {"input": "a", "use_activation": False},
            422,
            "use_activation: this server returns probabilities",
        ),
    ],
)
def test_what_this_server_cannot_do_is_rejected(
    server: ServerProcess, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    response = server.post(path, body)
    assert (response.status_code, sentence in response.json()["error"]) == (status, True), response.text


def test_the_health_and_the_description_of_the_model(server: ServerProcess) -> None:
    bundle = ModelBundle.load(server.bundle)
    assert server.get("/health").status_code == 200
    info = server.get("/info").json()
    assert (info["model_id"], info["model_sha"]) == ("small", bundle.fingerprint[:12])
    assert info["model_type"]["classifier"] == {
        "id2label": {"0": "bad", "1": "good"},
        "label2id": {"bad": 0, "good": 1},
    }
    assert (info["max_input_length"], info["max_client_batch_size"], info["auto_truncate"]) == (32, 1024, True)


def test_triton_clients_read_the_configuration_and_the_statistics(server: ServerProcess) -> None:
    server.classify([TEXT])
    version = ModelBundle.load(server.bundle).fingerprint[:12]
    config = server.get("/v2/models/small/config").json()
    assert config == server.get(f"/v2/models/small/versions/{version}/config").json()
    assert config["output"][2] == {"name": "probabilities", "data_type": "TYPE_FP64", "dims": [-1, 2]}
    for path in ("/v2/models/stats", "/v2/models/small/stats", f"/v2/models/small/versions/{version}/stats"):
        (stats,) = server.get(path).json()["model_stats"]
        assert (stats["name"], stats["version"]) == ("small", version)
        assert stats["inference_stats"]["success"]["count"] > 0
    assert server.get("/v2/models/nobody/stats").status_code == 404


def test_elements_in_base64_are_decoded_as_mlserver_does(server: ServerProcess) -> None:
    def labels(data: list[str], **parameters: str) -> list[str]:
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": data, "parameters": parameters}
        answer = server.post("/v2/models/small/infer", {"inputs": [tensor], "outputs": [{"name": "label"}]}).json()
        return answer["outputs"][0]["data"]

    assert labels(["YmFk"], content_type="base64") == labels(["bad"], content_type="str") == labels(["bad"]) == ["bad"]
    assert labels(["Z29vZA=="], content_type="base64") == ["good"]


@pytest.fixture(scope="module")
def server_with_threshold(
    store_environment: dict[str, str], other_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server whose model predicts its second label, good, only from probability 0.999 on."""
    folder = tmp_path_factory.mktemp("threshold")
    bundle = ModelBundle.load(other_bundle)
    files = {path: (other_bundle / path).read_bytes() for path in bundle.files}
    for path, content in files.items():
        (folder / path).write_bytes(content)
    bundle.model_copy(update={"calibration": Calibration(threshold=0.999), "files": {}}).write(folder)
    f1 = Estimate(value=0.9125, low=0.9, high=0.92)
    rules = [
        Rule(name="other", threshold=None, value=None, passed=True, message="it is new"),
        Rule(name="min_f1", threshold=0.9, value=f1, passed=True, message="F1 reaches the threshold"),
    ]
    decision = GateDecision(gate="served", bundle="b" * 64, dataset="d" * 64, rules=rules)
    promote_in_new_bucket(store_environment, "threshold", folder, decision=decision)
    with start_server(store_environment, "threshold", tmp_path_factory.mktemp("workspace"), folder) as server:
        yield server


def test_every_route_applies_the_decision_threshold(server_with_threshold: ServerProcess) -> None:
    server = server_with_threshold
    bad, good = load_bundle(server.bundle).predict_proba([TEXT])[0]
    assert 0.5 < good < 0.999, "the threshold must decide"
    entries = as_entries({"bad": bad, "good": good})
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}

    (native,) = server.post("/v1/models/small:classify", {"texts": [TEXT], "top_k": 2}).json()["predictions"]
    assert (native["label"], native["score"], native["top"]) == ("bad", entries[0]["score"], entries)
    assert server.classify([TEXT]).json()["predictions"][0]["top"] == entries[:1]
    assert server.post("/v1/models/small:explain", {"text": TEXT}).json()["label"] == "bad"
    assert server.post("/models/small", {"inputs": TEXT}).json() == [entries]
    assert server.post("/models/small", {"inputs": TEXT, "parameters": {"top_k": 1}}).json() == [entries[:1]]
    assert server.post("/predict", {"inputs": TEXT}).json() == entries
    (classified,) = server.post("/classify", {"input": TEXT}).json()["data"]
    assert (classified["label"], classified["probs"]) == ("bad", [entries[0]["score"], entries[1]["score"]])
    label, score, *_ = server.post("/v2/models/small/infer", {"inputs": [tensor]}).json()["outputs"]
    assert (label["data"], score["data"]) == (["bad"], [entries[0]["score"]])

    with grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelInferResponse.FromString,
        )
        contents = pb.InferTensorContents(bytes_contents=[TEXT.encode("utf-8")])
        tensors = [pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1], contents=contents)]
        answer = infer(pb.ModelInferRequest(model_name="small", inputs=tensors), timeout=60)
    assert answer.outputs[0].contents.bytes_contents == [b"bad"]
    np.testing.assert_allclose(answer.outputs[1].contents.fp64_contents, [bad], atol=1e-6)


def test_the_list_of_models_has_the_f1_that_the_gate_measured(
    server: ServerProcess, server_with_threshold: ServerProcess
) -> None:
    def test_f1(of: ServerProcess) -> object:
        (model,) = of.get("/v1/models").json()["models"]
        return model["test_f1"]

    assert test_f1(server_with_threshold) == 0.9125
    assert test_f1(server) is None, "it was promoted without a decision"
