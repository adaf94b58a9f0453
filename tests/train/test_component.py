"""The KFP component of the step ``train``."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from artifacts import without_checksums

from textgate.components.contracts import LinearTraining, ModelBundle, TransformerTraining
from textgate.components.storage import Store
from textgate.components.train.component import train


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), metadata={})


def test_a_family_without_checkpoints_needs_no_store_and_writes_a_readme_to_its_logs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    model, logs = artifact(tmp_path / "model"), artifact(tmp_path / "logs")
    settings = LinearTraining(family="linear", min_df=1).model_dump_json()
    train.python_func(artifact(dataset), "films", settings, "code", "no-bucket", model, logs)
    bundle = ModelBundle.load(tmp_path / "model")
    cost = {name: model.metadata.pop(name) for name in ("seconds", "cpu_seconds", "peak_memory")}
    assert without_checksums(model) == {"family": "linear", "fingerprint": bundle.fingerprint, **bundle.metrics}
    assert 0 < cost["seconds"] < 600
    assert 0 < cost["cpu_seconds"] < 6000
    assert 10**7 < cost["peak_memory"] < 10**11
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["README.md"]
    assert "checkpoint" not in capsys.readouterr().out


def test_a_fine_tuning_writes_its_curve_to_the_logs_and_leaves_nothing_in_the_store(
    dataset: Path, training: TransformerTraining, store: Store, tmp_path: Path
) -> None:
    model, logs = artifact(tmp_path / "model"), artifact(tmp_path / "logs")
    settings = training.model_copy(update={"epochs": 1}).model_dump_json()
    train.python_func(artifact(dataset), "films", settings, "code", store.bucket, model, logs)
    assert ModelBundle.load(tmp_path / "model").metrics["validation_f1"] == model.metadata["validation_f1"]
    assert len(list((tmp_path / "logs").glob("events.out.tfevents.*"))) == 1
    assert not list((tmp_path / "model").rglob("events*"))
    assert list(store.objects("")) == []


def test_a_base_model_that_is_not_the_one_of_the_cache_key_is_a_conflict(
    dataset: Path, training: TransformerTraining, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, logs = artifact(tmp_path / "model"), artifact(tmp_path / "logs")
    settings, versions = training.model_dump_json(), json.dumps({training.base_model: "0" * 64})
    with pytest.raises(SystemExit) as ended:
        train.python_func(artifact(dataset), "films", settings, "code", store.bucket, model, logs, base_models=versions)
    assert ended.value.code == 5
    sentence = f"textgate error 5: {training.base_model} changed while the run started: run again\n"
    assert sentence in capsys.readouterr().out
    assert not (tmp_path / "model").exists()
