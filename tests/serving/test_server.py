"""What the endpoint answers over HTTP."""

import json
import re
import socket

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving.server_process import ServerProcess

from textgate.components.inference import load_bundle

TEXTS = ["word1 good", "word2 bad word3", "é 漢字 👩‍👩‍👧", "", "GOOD\tword4\n"]


def test_classify_answers_what_the_bundle_answers(server: ServerProcess) -> None:
    loaded = load_bundle(server.bundle)
    probabilities = loaded.predict_proba(TEXTS)
    response = server.post(f"/v1/models/{server.model}:classify", {"texts": TEXTS, "top_k": 2})
    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] == "small"
    assert loaded.bundle.fingerprint.startswith(answer["version"])
    assert answer["request_id"] == response.headers["x-request-id"]
    for found, row, chosen in zip(
        answer["predictions"], probabilities, loaded.bundle.calibration.predict(probabilities), strict=True
    ):
        assert found["label"] == loaded.bundle.labels[chosen]
        assert found["score"] == pytest.approx(row[chosen], abs=1e-6)
        assert found["truncated"] is False
        assert {best["label"]: best["score"] for best in found["top"]} == pytest.approx(
            dict(zip(loaded.bundle.labels, row, strict=True)), abs=1e-6
        )
        assert found["top"][0]["score"] >= found["top"][1]["score"]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=6))
def test_any_text_has_the_same_probabilities_alone_beside_others_and_over_http(
    server: ServerProcess, texts: list[str]
) -> None:
    loaded = load_bundle(server.bundle)
    answered = server.post(f"/v2/models/{server.model}/infer", _tensor(texts)).json()
    over_http = np.array(answered["outputs"][2]["data"]).reshape(len(texts), -1)
    np.testing.assert_allclose(over_http, loaded.predict_proba(texts), atol=1e-6, rtol=0)
    np.testing.assert_allclose(
        over_http, np.concatenate([loaded.predict_proba([text]) for text in texts]), atol=1e-6, rtol=0
    )


def test_a_text_longer_than_the_model_reads_is_marked(server: ServerProcess) -> None:
    predictions = server.classify(["word1 " * 100, "word1"]).json()["predictions"]
    assert [found["truncated"] for found in predictions] == [True, False]


def test_explain_tells_what_each_word_contributes(server: ServerProcess) -> None:
    answer = server.post(f"/v1/models/{server.model}:explain", {"text": "word1  good word2"}).json()
    assert [(word["start"], word["end"], word["text"]) for word in answer["words"]] == [
        (0, 5, "word1"),
        (7, 11, "good"),
        (12, 17, "word2"),
    ]
    telling = max(answer["words"], key=lambda word: abs(word["contribution"]))
    assert (answer["label"], telling["text"]) == ("good", "good")
    against = server.post(f"/v1/models/{server.model}:explain", {"text": "word1  good word2", "label": "bad"}).json()
    assert [word["contribution"] for word in against["words"]] == pytest.approx(
        [-word["contribution"] for word in answer["words"]]
    )
    assert server.post(f"/v1/models/{server.model}:explain", {"text": " "}).json()["words"] == []


def test_the_metrics_count_what_was_asked(server: ServerProcess) -> None:
    def count() -> float:
        page = server.get("/metrics").text
        found = re.search(r'textgate_texts_total\{model="small",version="\w+"\} (\S+)', page)
        return float(found[1]) if found else 0

    before = count()
    server.classify(["a", "b", "c"])
    assert count() == before + 3


def test_a_request_id_is_kept_when_it_is_one(server: ServerProcess) -> None:
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
        ("/v1/models/small:classify", {"texts": []}, 422, "texts: List should have at least 1 item"),
        ("/v1/models/small:classify", {"text": ["a"]}, 422, "texts: Field required"),
        ("/v1/models/small:classify", {"texts": ["a", 1]}, 422, "texts.1: Input should be a valid string"),
        ("/v1/models/small:classify", {"texts": ["a"] * 1025}, 422, "1025 texts are more than the 1024"),
        ("/v1/models/small:classify", {"texts": ["a" * 100_001]}, 422, "more than the 100000 that it may have"),
        ("/v1/models/small:classify", {"texts": ["a"], "top_k": 0}, 422, "top_k: Input should be greater"),
        ("/v1/models/small:classify", [1], 422, "the body: Input should be an object"),
        ("/v1/models/small:explain", {"text": "a", "label": "ugly"}, 422, "label: small has no label 'ugly'"),
        ("/models/small", {"inputs": []}, 422, "there is no text to answer"),
        ("/v1/feedback", {"request_id": "a", "label": "ugly"}, 422, "label: small has no label 'ugly'"),
        ("/v2/models/small/versions/000000000000/infer", _tensor(["a"]), 404, "not served in version '000000000000'"),
        ("/v2/models/small/infer", _tensor(["a"], shape=[2]), 400, "has 1 elements, where its shape says 2"),
        ("/v2/models/small/infer", _tensor(["a"], name="input"), 400, "one tensor, 'text', of BYTES"),
        ("/v2/models/small/infer", _tensor(["a"], data=[1]), 400, "element 0 of the tensor 'text' is not a string"),
        ("/v2/repository/models/small/unload", {}, 403, "this needs an admin key"),
        ("/v2/nothing", {}, 404, "/openapi.json lists what there is"),
        ("/v1/models", {}, 405, "/v1/models takes GET, not POST"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    server: ServerProcess, path: str, body: object, status: int, sentence: str
) -> None:
    response = server.post(path, body)
    assert (response.status_code, sentence in response.json()["error"]) == (status, True), response.text
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b'{"texts": ["\\ud800"]}', 400), (b'{"texts": ["\x00"]}', 400)],
)
def test_a_body_that_is_no_json_is_refused(server: ServerProcess, body: bytes, status: int) -> None:
    response = requests.post(f"{server.http}/v1/models/small:classify", data=body, timeout=60)
    assert response.status_code == status
    assert "the body is not JSON" in response.json()["error"]


def test_a_body_that_is_too_large_is_refused_before_it_has_come(server: ServerProcess) -> None:
    def endless() -> object:
        while True:
            yield b" " * 65_536

    announced = requests.post(f"{server.http}/v1/models/small:classify", data=b" " * (9 * 2**20), timeout=60)
    assert (announced.status_code, "8388608 bytes" in announced.json()["error"]) == (413, True)
    with pytest.raises((requests.ConnectionError, AssertionError)):
        response = requests.post(f"{server.http}/v1/models/small:classify", data=endless(), timeout=60)
        assert response.status_code != 413


def test_every_answer_has_the_headers_that_keep_a_browser_safe(server: ServerProcess) -> None:
    for response in (server.get("/"), server.classify(["a"]), server.get("/nothing")):
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "server" not in response.headers


def test_the_log_has_a_line_a_request_and_no_text(server: ServerProcess) -> None:
    response = server.classify(["a secret word"], headers={"X-Request-Id": "logged-1"})
    line = server.wait_for("request", request_id="logged-1")
    assert line["status"] == response.status_code == 200
    assert (line["model"], line["texts"]) == ("small", 1)
    assert "secret" not in json.dumps(server.log_lines)


@pytest.mark.parametrize(
    ("then", "status"),
    [
        (b"no HTTP at all\r\n\r\n", b"400"),
        (b"POST /v1/models/small:classify HTTP/1.1\r\ncontent-length: 999999999\r\n\r\nx", b"413"),
    ],
)
def test_what_cannot_be_read_is_refused_after_what_was_asked_before(
    server: ServerProcess, then: bytes, status: bytes
) -> None:
    body = b'{"texts": ["word1 good"]}'
    asked = b"POST /v1/models/small:classify HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    host, port = server.http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(asked + then)
        with connection.makefile("rb") as answers:
            said = answers.read()
    assert re.findall(rb"HTTP/1\.1 (\d+)", said) == [b"200", status]
    assert said.index(b'"predictions"') < said.index(b'"error"')
