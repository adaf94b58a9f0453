"""A bucket of version 0.1.0, written by ``v010/make.py``, is read, served and shown as that version did."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving.server_process import TEXTGATE, ServerProcess, start_server

from textgate.components.contracts import (
    Dataset,
    Evaluation,
    EvaluationManifest,
    GateDecision,
    Promotion,
    Recipe,
    RunRecord,
)
from textgate.components.contracts.measurement import Measurements, MergeResult
from textgate.components.contracts.parse import parse_json
from textgate.components.inference import load_bundle
from textgate.components.storage import ModelRef, Registry, Store, roll_back
from textgate.components.storage.runs import load_card, load_decisions, load_evaluation, load_promotion, load_record
from textgate.pipelines import recipes

FIXTURE = Path(__file__).parent / "v010"
BUCKET = "compatibility-v010"
EXPECTED = json.loads((FIXTURE / "expected.json").read_text("utf-8"))
CHANNELS = [(model, channel) for model, entry in EXPECTED["models"].items() for channel in entry["channels"]]
RUNS = sorted(path.name for path in (FIXTURE / "store" / "runs").iterdir())

every_channel = pytest.mark.parametrize(("model", "channel"), CHANNELS)
every_run = pytest.mark.parametrize("run", RUNS)


def expected(model: str, channel: str) -> dict[str, Any]:
    return EXPECTED["models"][model]["channels"][channel]  # type: ignore[no-any-return]


def tolerance(model: str) -> float:
    """Return the allowed difference of a probability from that of version 0.1.0.

    The int8 graph was run with AVX512-VNNI. On CPUs without VNNI the 16-bit sums of ONNX Runtime's int8 kernels
    saturate (onnxruntime.ai/docs, "Quantize ONNX models", U8S8), which moves these probabilities by up to 0.1.
    """
    cpuinfo = Path("/proc/cpuinfo")
    vnni = cpuinfo.exists() and "avx512_vnni" in cpuinfo.read_text()
    return 1e-6 if model == "v010-linear" or vnni == EXPECTED["made_with"]["avx512_vnni"] else 0.15


def check(predictions: list[dict[str, Any]], model: str, channel: str) -> None:
    """Compare ``text``, ``label`` and ``probabilities`` by label with those of version 0.1.0."""
    before = expected(model, channel)["predictions"]
    assert [prediction["text"] for prediction in predictions] == [prediction["text"] for prediction in before]
    assert [prediction["label"] for prediction in predictions] == [prediction["label"] for prediction in before]
    for prediction, old in zip(predictions, before, strict=True):
        assert prediction["probabilities"] == pytest.approx(old["probabilities"], abs=tolerance(model), rel=0)


@pytest.fixture(scope="module")
def bucket(store_environment: dict[str, str]) -> Store:
    """Upload the bucket of version 0.1.0 to the embedded store, and return the store."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store_environment.items():
            patch.setenv(name, value)
        store = Store.from_environment(BUCKET)
        store.ensure_bucket()
    for path in sorted((FIXTURE / "store").rglob("*")):
        if path.is_file():
            store.upload_file(path, path.relative_to(FIXTURE / "store").as_posix())
    return store


@pytest.fixture
def registry(bucket: Store) -> Registry:
    return Registry(bucket)


@pytest.fixture
def cli(bucket: Store, environment: dict[str, str], tmp_path: Path) -> Any:
    """Return a function that runs ``textgate ... --json`` on the bucket and parses its output."""

    def run(*arguments: str) -> Any:
        command = [TEXTGATE, *arguments, "--json", "--bucket", bucket.bucket, "--home", str(tmp_path / "home")]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    return run


@pytest.fixture(scope="module")
def server(
    bucket: Store, store_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Start a server of every model that has a champion."""
    home = tmp_path_factory.mktemp("home")
    with start_server(store_environment, bucket.bucket, home, home) as server:
        yield server


def classify(server: ServerProcess, model: str, channel: str) -> None:
    """Send the texts to ``:classify`` and compare the response with version 0.1.0."""
    texts = [prediction["text"] for prediction in expected(model, channel)["predictions"]]
    response = server.post(f"/v1/models/{model}:classify", {"texts": texts, "top_k": 2})
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["model"], body["version"]) == (model, expected(model, channel)["version"])
    predictions = []
    for text, prediction in zip(texts, body["predictions"], strict=True):
        probabilities = {best["label"]: best["score"] for best in prediction["top"]}
        assert probabilities[prediction["label"]] == prediction["score"]
        predictions.append({"text": text, "label": prediction["label"], "probabilities": probabilities})
    check(predictions, model, channel)


@every_channel
def test_a_bundle_has_its_fingerprint_and_predicts_as_before(
    registry: Registry, model: str, channel: str, tmp_path: Path
) -> None:
    before = expected(model, channel)
    version = registry.resolve(ModelRef(model, channel))
    bundle = registry.download(model, version, tmp_path / "bundle")
    assert (version, bundle.fingerprint) == (before["version"], before["fingerprint"])
    assert registry.bundle(model, version) == bundle

    loaded = load_bundle(tmp_path / "bundle")
    texts = [prediction["text"] for prediction in before["predictions"]]
    probabilities = loaded.predict_proba(texts)
    labels = [bundle.labels[index] for index in bundle.calibration.predict(probabilities)]
    predictions = [
        {"text": text, "label": label, "probabilities": dict(zip(bundle.labels, row.tolist(), strict=True))}
        for text, label, row in zip(texts, labels, probabilities, strict=True)
    ]
    check(predictions, model, channel)


def test_the_registry_lists_versions_and_history(registry: Registry) -> None:
    assert registry.models() == {entry["model"]: entry["channels"] for entry in EXPECTED["list"]["models"]}
    for model, entry in EXPECTED["models"].items():
        versions = {channel["version"] for channel in entry["channels"].values()}
        assert set(registry.versions(model)) == versions
        history = [update.model_dump(mode="json") for update in registry.history(model)]
        assert history == entry["history"]["moves"]


def test_a_channel_of_a_version_010_bucket_is_updated_and_audited(environment: dict[str, str], store: Store) -> None:
    for path in sorted((FIXTURE / "store" / "models" / "v010-linear").rglob("*")):
        if path.is_file():
            store.upload_file(path, path.relative_to(FIXTURE / "store").as_posix())
    registry, before = Registry(store), EXPECTED["models"]["v010-linear"]
    back = roll_back(registry, "v010-linear", run="rollback", reason="by hand")
    assert back.version == before["channels"]["challenger"]["version"]
    assert back.previous == before["channels"]["champion"]["version"]
    history = [update.model_dump(mode="json") for update in registry.history("v010-linear")]
    assert history == [back.model_dump(mode="json"), *before["history"]["moves"]]


@every_run
def test_a_run_record_and_its_files_parse(bucket: Store, run: str) -> None:
    record = load_record(bucket, run)
    assert isinstance(record, RunRecord)
    assert (record.run, record.state, record.error) == (run, "SUCCEEDED", None)
    assert [decision.gate for decision in record.decisions] == ["trained", "served"]
    assert all(decision.passed for decision in record.decisions)
    assert record.decisions == load_decisions(bucket, run)
    assert isinstance(record.promotion, Promotion)
    assert record.promotion == load_promotion(bucket, run)

    recipe = Recipe.model_validate(record.recipe)
    assert recipe.model == record.promotion.model
    champions = {entry["channels"]["champion"] for entry in EXPECTED["list"]["models"]}
    if record.promotion.version in champions:
        assert recipe == recipes.load(str(FIXTURE / "recipes" / f"{recipe.name}.yaml"))

    evaluation = load_evaluation(bucket, run)
    assert isinstance(evaluation, EvaluationManifest)
    assert evaluation.bundle == record.decisions[-1].bundle
    assert evaluation.bundle.startswith(record.promotion.version)
    assert str(load_card(bucket, run)).startswith("---\n")


@every_run
def test_the_artifacts_of_a_run_parse(bucket: Store, run: str, tmp_path: Path) -> None:
    bucket.download_folder(f"runs/{run}", tmp_path)
    evaluation = Evaluation.open(tmp_path / "evaluate-2" / "evaluation")
    assert evaluation.manifest == load_evaluation(bucket, run)
    assert evaluation.manifest.f1.value > 0.5
    assert evaluation.probabilities.shape == (35, 2)
    np.testing.assert_allclose(evaluation.probabilities.sum(axis=1), 1, atol=1e-9)
    confusion = np.zeros((2, 2), dtype=int)
    np.add.at(confusion, (evaluation.truth, evaluation.predicted), 1)
    assert confusion.tolist() == evaluation.manifest.confusion
    assert evaluation.insight.top_words

    for gate in ("trained", "served"):
        path = tmp_path / f"gate-{gate}" / "decision"
        decision = GateDecision.parse(path.read_bytes(), str(path))
        assert decision in load_record(bucket, run).decisions
    measurements = Measurements.open(tmp_path / "export-onnx" / "measurements")
    assert measurements.served in {target.target for target in measurements.targets}
    assert MergeResult.open(tmp_path / "merge-quantize" / "changes") is None
    parse_json(Promotion, (tmp_path / "promotion.json").read_bytes(), run, "a promotion")


def test_a_dataset_opens_with_its_rows_and_rejected_rows(bucket: Store, tmp_path: Path) -> None:
    (run,) = {key.key.split("/")[1] for key in bucket.objects("runs/") if "/preprocess/dataset/" in key.key}
    bucket.download_folder(f"runs/{run}", tmp_path)
    raw = Dataset.open(tmp_path / "ingest" / "dataset")
    clean = Dataset.open(tmp_path / "preprocess" / "dataset")
    assert {split: len(list(raw.rows(split))) for split in raw.manifest.counts} == {"all": 118}
    sizes = {split: len(list(clean.rows(split))) for split in clean.manifest.counts}
    assert sizes == {"train": 58, "validation": 24, "test": 35}
    assert {row.reason for row in clean.rejected()} == {"duplicate", "empty text", "missing label"}
    assert {city for row in clean.rows("test") for city in row.metadata.values()} == {"Lyon", "Porto", "Graz"}
    evaluation = Evaluation.open(tmp_path / "evaluate-2" / "evaluation")
    assert evaluation.manifest.dataset == clean.manifest.fingerprint
    assert evaluation.ids == clean.columns("test")[0]


def test_models_list_prints_the_same_json(cli: Any) -> None:
    assert cli("models", "list") == EXPECTED["list"]


@every_channel
def test_models_show_prints_the_same_json(cli: Any, model: str, channel: str) -> None:
    before = expected(model, channel)
    assert cli("models", "show", model, "--version", before["version"]) == before["show"]
    if channel == "champion":
        assert cli("models", "show", model) == before["show"]


@pytest.mark.parametrize("model", EXPECTED["models"])
def test_models_history_prints_the_same_json(cli: Any, model: str) -> None:
    assert cli("models", "history", model) == EXPECTED["models"][model]["history"]


@every_channel
def test_models_card_prints_the_card_of_the_run(cli: Any, model: str, channel: str) -> None:
    shown = cli("models", "card", f"{model}@{channel}")
    run = next(update["run"] for update in expected(model, channel)["show"]["moves"] if update["decision"])
    assert shown["card"] == (FIXTURE / "store" / "runs" / run / "README.md").read_text("utf-8")


@every_channel
def test_predict_prints_the_same_predictions(cli: Any, model: str, channel: str) -> None:
    texts = [prediction["text"] for prediction in expected(model, channel)["predictions"]]
    printed = cli("predict", f"{model}@{channel}", *texts)
    assert (printed["model"], printed["version"]) == (model, expected(model, channel)["version"])
    check(printed["predictions"], model, channel)


@pytest.mark.parametrize("model", EXPECTED["models"])
def test_the_endpoint_classifies_with_every_champion(server: ServerProcess, model: str) -> None:
    classify(server, model, "champion")


def test_the_endpoint_classifies_with_a_challenger(bucket: Store, environment: dict[str, str], tmp_path: Path) -> None:
    with start_server(
        environment, bucket.bucket, tmp_path, tmp_path, "v010-linear", "--challenger-share", "100"
    ) as server:
        classify(server, "v010-linear", "challenger")
