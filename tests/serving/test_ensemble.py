"""An ensemble behind the endpoint: a graph and a linear model answering as one."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving.server_process import ServerProcess, promote, start_server

from textgate.components.contracts import Dataset, EnsembleTraining, ModelBundle
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.storage import Registry, Store
from textgate.components.train.train import train_bundle

TEXTS = ["word1 good", "word2 bad word3", "é 漢字", "", "word1 good " * 60, *(f"word{n} bad " * n for n in range(30))]


@pytest.fixture(scope="module")
def ensemble(
    dataset: Dataset, served_bundle: Path, other_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("ensemble") / "bundle"
    members = [{"bundle": "graph", "weight": 2}, {"bundle": "linear", "weight": 1}]
    training = EnsembleTraining.model_validate({"family": "ensemble", "members": members})
    found = {"graph": served_bundle, "linear": other_bundle}
    train_bundle(dataset.path, "both", training, folder, TrainingContext(bundles=found))
    return folder


@pytest.fixture(scope="module")
def server(
    store_environment: dict[str, str], ensemble: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store_environment.items():
            patch.setenv(name, value)
        store = Store.from_environment("served-ensemble")
        store.ensure_bucket()
        promote(Registry(store), ensemble, "both")
    home = tmp_path_factory.mktemp("home")
    with start_server(store_environment, store.bucket, home, ensemble, model="both") as server:
        yield server


def test_the_endpoint_answers_what_the_bundle_answers(
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
    # The graph reads 32 tokens, the linear model all: what one of them cut is marked.
    assert predictions[4]["truncated"] is True
    assert [found["truncated"] for found in predictions[:4]] == [False] * 4
    np.testing.assert_allclose([found["score"] for found in predictions], expected.max(axis=1), atol=1e-6)


def test_it_is_described_counted_and_explained(server: ServerProcess) -> None:
    (listed,) = server.get("/v1/models").json()["models"]
    assert (listed["name"], listed["labels"], listed["max_tokens"]) == ("both", ["bad", "good"], 32)
    explained = server.post("/v1/models/both:explain", {"text": "word1 good word2"}).json()
    assert max(explained["words"], key=lambda word: abs(word["contribution"]))["text"] == "good"
    assert 'textgate_tokens_total{model="both"' in server.get("/metrics").text


def test_its_parts_hold_every_text_once_and_the_tokens_of_all_members(ensemble: Path, served_bundle: Path) -> None:
    parts = list(load_bundle(ensemble).predict_batches(TEXTS))
    assert len(parts) > 1, "what the graph has answered is told before all is answered"
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(len(TEXTS)))
    graph = list(load_bundle(served_bundle).predict_batches(TEXTS))
    assert sum(part.tokens for part in parts) == sum(part.tokens for part in graph)
    assert list(load_bundle(ensemble).predict_batches([])) == []


def test_a_text_costs_what_the_member_that_reads_furthest_takes(ensemble: Path) -> None:
    assert ModelBundle.load(ensemble).max_tokens == 32
