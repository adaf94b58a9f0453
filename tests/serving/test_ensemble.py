"""An ensemble of an ONNX model and a linear model behind the server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving.server_process import ServerProcess, promote_in_new_bucket, start_server

from textgate.components.contracts import Dataset, EnsembleTraining, ModelBundle
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.train.train import train_bundle

TEXTS = ["word1 good", "word2 bad word3", "é 漢字", "", "word1 good " * 60, *(f"word{n} bad " * n for n in range(30))]


@pytest.fixture(scope="module")
def ensemble(
    dataset: Dataset, served_bundle: Path, other_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("ensemble") / "bundle"
    members = [{"bundle": "graph", "weight": 2}, {"bundle": "linear", "weight": 1}]
    training = EnsembleTraining.model_validate({"family": "ensemble", "members": members})
    bundles = {"graph": served_bundle, "linear": other_bundle}
    train_bundle(dataset.path, "both", training, folder, TrainingContext(bundles=bundles))
    return folder


@pytest.fixture(scope="module")
def server(
    store_environment: dict[str, str], ensemble: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    bucket, workspace = "served-ensemble", tmp_path_factory.mktemp("workspace")
    promote_in_new_bucket(store_environment, bucket, ensemble, "both")
    with start_server(store_environment, bucket, workspace, ensemble, model="both") as server:
        yield server


def test_the_server_returns_the_predictions_of_the_bundle(
    server: ServerProcess, served_bundle: Path, other_bundle: Path, ensemble: Path
) -> None:
    expected = (
        2 * load_bundle(served_bundle).predict_proba(TEXTS) + load_bundle(other_bundle).predict_proba(TEXTS)
    ) / 3
    np.testing.assert_allclose(load_bundle(ensemble).predict_proba(TEXTS), expected, atol=1e-6, rtol=0)
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    answered = server.post("/v2/models/both/infer", {"inputs": [tensor]}).json()
    over_http = np.array(answered["outputs"][2]["data"]).reshape(len(TEXTS), -1)
    np.testing.assert_allclose(over_http, expected, atol=1e-6, rtol=0)
    predictions = server.classify(TEXTS).json()["predictions"]
    # The ONNX model reads 32 tokens, the linear model all: a text truncated by one of them is marked.
    assert predictions[4]["truncated"] is True
    assert [prediction["truncated"] for prediction in predictions[:4]] == [False] * 4
    np.testing.assert_allclose([prediction["score"] for prediction in predictions], expected.max(axis=1), atol=1e-6)


def test_it_is_listed_explained_and_in_the_metrics(server: ServerProcess) -> None:
    (listed,) = server.get("/v1/models").json()["models"]
    assert (listed["name"], listed["labels"], listed["max_tokens"]) == ("both", ["bad", "good"], 32)
    explained = server.post("/v1/models/both:explain", {"text": "word1 good word2"}).json()
    assert max(explained["words"], key=lambda word: abs(word["contribution"]))["text"] == "good"
    assert 'textgate_tokens_total{model="both"' in server.get("/metrics").text


def test_its_batches_cover_every_text_once_and_count_the_tokens_of_all_members(
    ensemble: Path, served_bundle: Path
) -> None:
    batches = list(load_bundle(ensemble).predict_batches(TEXTS))
    assert len(batches) > 1, "the first batches are yielded before the last one is predicted"
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(TEXTS)))
    onnx_batches = list(load_bundle(served_bundle).predict_batches(TEXTS))
    assert sum(batch.tokens for batch in batches) == sum(batch.tokens for batch in onnx_batches)
    assert list(load_bundle(ensemble).predict_batches([])) == []


def test_its_maximum_is_that_of_the_member_that_reads_most_tokens(ensemble: Path) -> None:
    assert ModelBundle.load(ensemble).max_tokens == 32
