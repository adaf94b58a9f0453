"""The HTTP interface."""

import json
import re
import socket

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving.server_process import ServerProcess

from textgate.components.contracts import InputError
from textgate.components.inference import load_bundle
from textgate.serving.http_server import listen

TEXTS = ["word1 good", "word2 bad word3", "é 漢字 👩‍👩‍👧", "", "GOOD\tword4\n"]


def test_classify_returns_the_predictions_of_the_bundle(server: ServerProcess) -> None:
    loaded = load_bundle(server.bundle)
    probabilities = loaded.predict_proba(TEXTS)
    response = server.post(f"/v1/models/{server.model}:classify", {"texts": TEXTS, "top_k": 2})
    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] == "small"
    assert loaded.bundle.fingerprint.startswith(answer["version"])
    assert answer["request_id"] == response.headers["x-request-id"]
    for prediction, row, index in zip(
        answer["predictions"], probabilities, loaded.bundle.calibration.predict(probabilities), strict=True
    ):
        assert prediction["label"] == loaded.bundle.labels[index]
        assert prediction["score"] == pytest.approx(row[index], abs=1e-6)
        assert prediction["truncated"] is False
        assert {top["label"]: top["score"] for top in prediction["top"]} == pytest.approx(
            dict(zip(loaded.bundle.labels, row, strict=True)), abs=1e-6
        )
        assert prediction["top"][0]["score"] >= prediction["top"][1]["score"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=6))
def test_probabilities_are_the_same_alone_in_a_batch_and_over_http(server: ServerProcess, texts: list[str]) -> None:
    loaded = load_bundle(server.bundle)
    answered = server.post(f"/v2/models/{server.model}/infer", _tensor(texts)).json()
    over_http = np.array(answered["outputs"][2]["data"]).reshape(len(texts), -1)
    np.testing.assert_allclose(over_http, loaded.predict_proba(texts), atol=1e-6, rtol=0)
    np.testing.assert_allclose(
        over_http, np.concatenate([loaded.predict_proba([text]) for text in texts]), atol=1e-6, rtol=0
    )


def test_a_truncated_text_is_marked(server: ServerProcess) -> None:
    predictions = server.classify(["word1 " * 100, "word1"]).json()["predictions"]
    assert [prediction["truncated"] for prediction in predictions] == [True, False]


def test_explain_returns_the_contribution_of_each_word(server: ServerProcess) -> None:
    answer = server.post(f"/v1/models/{server.model}:explain", {"text": "word1  good word2"}).json()
    assert [(word["start"], word["end"], word["text"]) for word in answer["words"]] == [
        (0, 5, "word1"),
        (7, 11, "good"),
        (12, 17, "word2"),
    ]
    strongest = max(answer["words"], key=lambda word: abs(word["contribution"]))
    assert (answer["label"], strongest["text"]) == ("good", "good")
    against = server.post(f"/v1/models/{server.model}:explain", {"text": "word1  good word2", "label": "bad"}).json()
    assert [word["contribution"] for word in against["words"]] == pytest.approx(
        [-word["contribution"] for word in answer["words"]]
    )
    assert server.post(f"/v1/models/{server.model}:explain", {"text": " "}).json()["words"] == []


def test_the_metrics_count_the_texts(server: ServerProcess) -> None:
    def count() -> float:
        page = server.get("/metrics").text
        match = re.search(r'textgate_texts_total\{model="small",version="\w+"\} (\S+)', page)
        return float(match[1]) if match else 0

    before = count()
    server.classify(["a", "b", "c"])
    assert count() == before + 3


def test_a_valid_request_id_is_returned(server: ServerProcess) -> None:
    assert server.classify(["a"], headers={"X-Request-Id": "mine-1"}).json()["request_id"] == "mine-1"
    for wrong in ("two words", "x" * 129, "é"):
        response = server.classify(["a"], headers={"X-Request-Id": wrong.encode("utf-8")})
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def _tensor(texts: list[str], **changes: object) -> dict[str, object]:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts, **changes}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/v1/models/none:classify", {"texts": ["a"]}, 404, "no model 'none' is served here; those that are: small"),
        ("/v1/models/small:classify", {"texts": []}, 422, "texts: Expected `array` of length >= 1"),
        ("/v1/models/small:classify", {"text": ["a"]}, 422, "the body: Object contains unknown field `text`"),
        ("/v1/models/small:classify", {"texts": ["a", 1]}, 422, "texts[1]: Expected `str`, got `int`"),
        ("/v1/models/small:classify", {"texts": ["a"] * 1025}, 422, "1025 texts are more than the 1024"),
        ("/v1/models/small:classify", {"texts": ["a" * 100_001]}, 422, "more than the 100000 that it may have"),
        ("/v1/models/small:classify", {"texts": ["a"], "top_k": 0}, 422, "top_k: Expected `int` >= 1"),
        ("/v1/models/small:classify", [1], 422, "the body: Expected `object`, got `array`"),
        ("/v1/models/small:explain", {"text": "a", "label": "ugly"}, 422, "label: small has no label 'ugly'"),
        ("/models/small", {"inputs": []}, 422, "there is no text to classify"),
        ("/v1/feedback", {"request_id": "a", "label": "ugly"}, 422, "label: small has no label 'ugly'"),
        ("/v2/models/small/versions/000000000000/infer", _tensor(["a"]), 404, "not served in version '000000000000'"),
        ("/v2/models/small/infer", _tensor(["a"], shape=[2]), 400, "has 1 elements, where its shape says 2"),
        ("/v2/models/small/infer", _tensor(["a"], shape=[2**40]), 422, "1099511627776 texts are more than the 1024"),
        ("/v2/models/small/infer", _tensor(["a"], shape=[1, 1, 1]), 400, "n of at least 1, not [1, 1, 1]"),
        ("/v2/models/small/infer", _tensor(["a"], parameters={"content_type": "np"}), 422, "or 'base64', not 'np'"),
        ("/v2/models/small/infer", _tensor(["a"], parameters={"content_type": "base64"}), 400, "is not base64"),
        ("/v2/models/small/infer", _tensor(["a"], name="input"), 400, "one tensor, 'text', of BYTES"),
        ("/v2/models/small/infer", _tensor(["a"], data=[1]), 422, "data[0]: Expected `str | array`, got `int`"),
        ("/v2/repository/models/small/unload", {}, 403, "this needs an admin key"),
        ("/v2/nothing", {}, 404, "/openapi.json lists the routes"),
        ("/v1/models", {}, 405, "/v1/models takes GET, HEAD, OPTIONS, not POST"),
    ],
)
def test_an_invalid_request_is_rejected_with_one_sentence(
    server: ServerProcess, path: str, body: object, status: int, sentence: str
) -> None:
    response = server.post(path, body)
    assert (response.status_code, sentence in response.json()["error"]) == (status, True), response.text
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b'{"texts": ["\\ud800"]}', 400), (b'{"texts": ["\x00"]}', 400)],
)
def test_a_body_that_is_not_json_is_rejected(server: ServerProcess, body: bytes, status: int) -> None:
    response = requests.post(f"{server.http}/v1/models/small:classify", data=body, timeout=60)
    assert response.status_code == status
    assert "the body is not JSON" in response.json()["error"]


def test_a_body_that_is_too_large_is_rejected_before_it_has_arrived(server: ServerProcess) -> None:
    def endless() -> object:
        while True:
            yield b" " * 65_536

    announced = requests.post(f"{server.http}/v1/models/small:classify", data=b" " * (9 * 2**20), timeout=60)
    assert (announced.status_code, "8388608 bytes" in announced.json()["error"]) == (413, True)
    with pytest.raises((requests.ConnectionError, AssertionError)):
        response = requests.post(f"{server.http}/v1/models/small:classify", data=endless(), timeout=60)
        assert response.status_code != 413


def test_every_response_has_the_security_headers(server: ServerProcess) -> None:
    for response in (server.get("/"), server.classify(["a"]), server.get("/nothing")):
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["server"] == "textgate"  # without a version


def test_the_log_has_a_line_per_request_without_its_text(server: ServerProcess) -> None:
    response = server.classify(["a secret word"], headers={"X-Request-Id": "logged-1"})
    line = server.wait_for("request", request_id="logged-1")
    assert line["status"] == response.status_code == 200
    assert (line["model"], line["texts"]) == ("small", 1)
    assert "secret" not in json.dumps(server.log_lines)


@pytest.mark.parametrize(
    ("then", "status"),
    [
        (b"no HTTP at all\r\n\r\n", b"400"),
        (b"POST /v1/models/small:classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999\r\n\r\nx", b"413"),
    ],
)
def test_an_unreadable_request_is_rejected_after_the_one_before_it_is_answered(
    server: ServerProcess, then: bytes, status: bytes
) -> None:
    body = b'{"texts": ["word1 good"]}'
    head = b"POST /v1/models/small:classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
    host, port = server.http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head + body + then)
        with connection.makefile("rb") as stream:
            received = stream.read()
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200", status]
    assert received.index(b'"predictions"') < received.index(b"HTTP/1.1 " + status)


def test_only_one_server_can_have_a_port_even_before_it_accepts_connections() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"the server cannot listen on 127.0.0.1:{port} .* choose another"):
            listen("127.0.0.1", port)
