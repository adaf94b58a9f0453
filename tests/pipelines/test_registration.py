"""`textgate publish` to MLflow and to the Kubeflow Model Registry, with their own clients."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from e2e.trackers import mlflow_server
from pipelines.cluster_workspace import unreachable_address
from pipelines.model_registry_server import ModelRegistryServer, serve
from words import write_words

from textgate.components.storage import ModelRef, Registry, Store
from textgate.pipelines.cli import main

PASSWORD = "averysecretpassword"


@pytest.fixture
def registry(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Return a registry in which the model ``words`` has a champion."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTGATE_BUCKET", store.bucket)
    for name in ("MLFLOW_TRACKING_URI", "MODEL_REGISTRY_URL"):
        monkeypatch.delenv(name, raising=False)
    registry = Registry(store)
    promote(registry, tmp_path / "first", "first.json")
    return registry


@pytest.fixture
def kubeflow() -> Iterator[ModelRegistryServer]:
    with serve() as server:
        yield server


def promote(registry: Registry, folder: Path, name: str) -> str:
    before = registry.channel("words")
    version = registry.publish("words", write_words(folder, name))
    expected = before.version if before else None
    registry.update_channel("words", version, run=f"run-{folder.name}", reason="it passed", expected=expected)
    return version


def publish(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["publish", *arguments])
    assert PASSWORD not in result.output
    return result


def publish_json(*arguments: str) -> Any:
    result = publish(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_version_is_registered_once_in_the_model_registry(
    registry: Registry, kubeflow: ModelRegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_REGISTRY_URL", kubeflow.url)
    first = registry.resolve(ModelRef.parse("words"))
    assert publish_json("words", "--to", "model-registry://reviews")["changed"] is True
    again = publish("words", "--to", "model-registry://reviews")
    assert again.stdout == f"nothing changed: model-registry://reviews holds words {first} already, as version 1\n"
    (model,), (version,), (artifact,) = kubeflow.models, kubeflow.versions, kubeflow.artifacts
    assert (model["name"], version["name"], version["description"]) == ("reviews", first, "it passed")
    assert artifact["uri"] == f"s3://{registry.store.bucket}/models/words/versions/{first}/"
    assert artifact["modelFormatName"] == registry.bundle("words", first).runtime.name
    properties = {key: value["string_value"] for key, value in version["customProperties"].items()}
    assert properties["textgate.bundle_fingerprint"] == registry.bundle("words", first).fingerprint
    assert properties["textgate.run"] == "run-first"

    second = promote(registry, tmp_path / "second", "second.json")
    assert publish_json("words", "--to", "model-registry://reviews")["version"] == second
    assert [one["name"] for one in kubeflow.versions] == [first, second]


def test_an_interrupted_registration_is_completed(registry: Registry, kubeflow: ModelRegistryServer) -> None:
    to = ("words", "--to", "model-registry://reviews", "--server", kubeflow.url)
    kubeflow.refuses.add("model_versions/1/artifacts")
    refused = publish(*to)
    assert (refused.exit_code, kubeflow.artifacts) == (2, [])
    assert "reviews was not registered: the Kubeflow Model Registry at http://127.0.0.1" in refused.stderr
    kubeflow.refuses.clear()
    assert publish_json(*to)["changed"] is True
    assert publish_json(*to)["changed"] is False
    assert (len(kubeflow.models), len(kubeflow.versions), len(kubeflow.artifacts)) == (1, 1, 1)


def test_another_bundle_under_the_same_version_is_a_conflict(registry: Registry, kubeflow: ModelRegistryServer) -> None:
    to = ("words", "--to", "model-registry://reviews", "--server", kubeflow.url)
    publish_json(*to)
    kubeflow.versions[0]["customProperties"]["textgate.bundle_fingerprint"]["string_value"] = "0" * 64
    refused = publish(*to)
    assert refused.exit_code == 5
    assert "with another bundle, 000000000000: publish under another name" in refused.stderr


def test_a_dry_run_contacts_no_server(registry: Registry, kubeflow: ModelRegistryServer) -> None:
    shown = publish("words", "--to", "model-registry://reviews", "--server", kubeflow.url, "--dry-run")
    assert "would be registered as model-registry://reviews, from s3://" in shown.stdout
    assert "textgate.bundle_fingerprint: " in shown.stdout
    assert kubeflow.requests == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--to", "mlflow://"), "mlflow:// names no model: write mlflow://NAME"),
        (("--to", "mlflow://reviews"), "give --server URL or set MLFLOW_TRACKING_URI"),
        (("--to", "model-registry://reviews"), "give --server URL or set MODEL_REGISTRY_URL"),
        (("--to", "mlflow://reviews", "--private"), "--private and --revision are for hf://"),
        (("--to", "hf://org/words", "--server", "http://x"), "--server is for mlflow:// and model-registry://"),
    ],
)
def test_wrong_arguments_are_explained(arguments: tuple[str, ...], sentence: str, registry: Registry) -> None:
    result = publish("words", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("Error: ") == 1


def test_a_server_that_is_down_is_one_sentence_without_the_password(registry: Registry) -> None:
    with unreachable_address() as address:
        server = address.replace("://", f"://user:{PASSWORD}@")
        result = publish("words", "--to", "model-registry://reviews", "--server", server)
    assert result.exit_code == 2
    assert "reviews was not registered: the Kubeflow Model Registry at http://****@" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_version_is_registered_once_in_mlflow(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    with mlflow_server(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = MlflowClient(address)
        experiment = client.create_experiment("textgate")
        tracked = client.create_run(experiment, tags={"textgate.run": "run-first"}).info.run_id
        assert publish_json("words", "--to", "mlflow://reviews")["changed"] is True
        assert publish_json("words", "--to", "mlflow://reviews")["changed"] is False
        second = promote(registry, tmp_path / "second", "second.json")
        assert publish_json("words", "--to", "mlflow://reviews")["id"] == "2"
        versions = sorted(client.search_model_versions("name='reviews'"), key=lambda one: int(one.version))
        assert [one.source for one in versions] == [
            f"s3://{registry.store.bucket}/models/words/versions/{one.tags['textgate.version']}/" for one in versions
        ]
        assert versions[0].run_id == tracked
        assert versions[1].tags["textgate.version"] == second
        assert versions[1].tags["textgate.bundle_fingerprint"] == registry.bundle("words", second).fingerprint
        assert versions[1].description == "it passed"
    down = publish("words", "--to", "mlflow://reviews", "--server", address.replace("://", f"://user:{PASSWORD}@"))
    assert down.exit_code == 2
    assert "reviews was not registered: MLflow at http://****@127.0.0.1" in down.stderr
