"""Experiment tracking with the services' own clients: what they hold is compared with the run's record."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.trackers import OfflineRun, mlflow_server

from textgate.components.contracts import EvaluationManifest, RunRecord
from textgate.components.storage.runs import load_evaluation, load_record, load_report

SECRET = "mlflow-averysecretpassword"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


def expected_metrics(record: RunRecord, evaluation: EvaluationManifest) -> dict[str, float]:
    """Return what must be logged of both gates and the test split."""
    metrics = {f"test/{name}": estimate.value for name, estimate in evaluation.metrics.items()}
    metrics |= {f"test/{name}_low": each.low for name, each in evaluation.metrics.items() if not each.withheld}
    for decision in record.decisions:
        for rule in decision.rules:
            prefix = f"gate_{decision.gate}/{rule.name}"
            metrics[f"{prefix}/passed"] = float(rule.passed)
            if rule.threshold is not None:
                metrics[f"{prefix}/threshold"] = rule.threshold
            if rule.value is not None:
                metrics[f"{prefix}/value"] = rule.value.value
    return metrics


def expected_tags(record: RunRecord, bucket: str) -> dict[str, str]:
    assert record.promotion is not None
    return {
        "verdict": "promote",
        "state": "SUCCEEDED",
        "decision": record.decisions[-1].message,
        "version": record.promotion.version,
        "bundle": f"s3://{bucket}/models/films/versions/{record.promotion.version}/",
        "bundle_fingerprint": record.decisions[-1].bundle,
        "dataset_fingerprint": record.decisions[-1].dataset,
    }


@pytest.mark.slow
def test_one_run_is_in_wandb_and_mlflow_as_in_its_record(workspace: Any, server: str, tiny_encoder: Path) -> None:
    import mlflow

    recipe = (workspace.folder / "films.yaml").read_text()
    settings = "max_tokens: 16, epochs: 3, batch_size: 8, learning_rate: 3e-3, evaluate_every: 1"
    training = f"{{family: transformer, base_model: {tiny_encoder}, {settings}}}"
    (workspace.folder / "encoder.yaml").write_text(
        recipe.replace("{family: linear, min_df: 1}", training).replace("min_f1: 0.8", "min_f1: 0.1")
    )
    services = {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": server, "MLFLOW_TRACKING_PASSWORD": SECRET}
    done = workspace.run("run", "encoder.yaml", **services)
    assert done.returncode == 0, done.stderr
    assert "is not completely in" not in done.stderr
    (folder,) = (path for path in (workspace.folder / ".textgate" / "runs").iterdir() if path.is_dir())
    assert f"wandb     offline in {folder / 'wandb'}" in done.stdout.replace(".textgate", str(folder.parents[1]), 1)
    record, evaluation = load_record(workspace.store, folder.name), load_evaluation(workspace.store, folder.name)
    assert evaluation is not None
    metrics, tags = expected_metrics(record, evaluation), expected_tags(record, workspace.store.bucket)
    report = load_report(workspace.store, folder.name)
    assert report == (folder / "report.html").read_bytes()
    (manifest,) = (folder / "train" / "model").glob("bundle.json")
    history = json.loads(manifest.read_text())["history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    scores = [entry["validation_f1"] for entry in history if "validation_f1" in entry]
    assert len(losses) > 2
    assert len(scores) > 1

    offline = OfflineRun(folder / "wandb")
    assert offline.ids == {folder.name}
    assert [value for _, value in offline.curve("train/loss")] == pytest.approx(losses, abs=1e-6)
    assert [value for _, value in offline.curve("eval/f1")] == pytest.approx(scores, abs=1e-6)
    assert offline.config["train.learning_rate"] == 3e-3
    assert offline.config["gate.min_f1"] == 0.1
    assert {name: offline.summary[name] for name in metrics} == pytest.approx(metrics)
    assert {name: offline.summary[name] for name in tags} == tags
    assert report in [path.read_bytes() for path in offline.files if path.suffix == ".html"]

    client = mlflow.MlflowClient(server)
    (tracked,) = client.search_runs([client.get_experiment_by_name("textgate").experiment_id])
    assert tracked.info.status == "FINISHED"
    for name, values in {"train/loss": losses, "eval/f1": scores}.items():
        curve = client.get_metric_history(tracked.info.run_id, name)
        assert [point.value for point in curve] == pytest.approx(values, abs=1e-6)
    assert {name: tracked.data.metrics[name] for name in metrics} == pytest.approx(metrics)
    assert {name: tracked.data.tags[f"textgate.{name}"] for name in tags} == tags
    assert tracked.data.params["train.learning_rate"] == "0.003"
    assert Path(client.download_artifacts(tracked.info.run_id, "report.html")).read_bytes() == report

    stored = {item.key: workspace.store.get(item.key).data for item in workspace.store.objects("runs/")}
    local = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not [
        1
        for content in [done.stdout.encode(), done.stderr.encode(), *local, *stored.values()]
        if SECRET.encode() in content
    ]


@pytest.mark.slow
def test_each_training_of_a_sweep_is_a_run_of_the_group_and_a_refused_key_costs_warnings(
    workspace: Any, server: str
) -> None:
    import mlflow

    services = {"MLFLOW_TRACKING_URI": server, "MLFLOW_EXPERIMENT_NAME": "sweep", "WANDB_API_KEY": SECRET}
    done = workspace.run("run", "films.yaml", "--sweep", "train.min_df=1,2", **services)
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(server)
    runs = client.search_runs([client.get_experiment_by_name("sweep").experiment_id])
    assert len(runs) == 3
    assert len({run.data.tags["textgate.group"] for run in runs}) == 1
    (decided,) = (run for run in runs if "textgate.run" in run.data.tags)
    assert decided.data.tags["textgate.verdict"] == "promote"
    assert all("validation/f1" in run.data.metrics for run in runs if run is not decided)
    assert {run.info.status for run in runs} == {"FINISHED"}
    # The client refuses the key, which is too short.
    assert done.stderr.count("this run is not completely in Weights & Biases: ") == 3
    assert SECRET not in done.stdout + done.stderr


DOWN = """
from textgate.components.tracking.tracked_run import tracked_training
with tracked_training("films") as run:
    run.log({"train/loss": 1.0}, 1)
print("the training went on")
"""


@pytest.mark.slow
def test_a_server_that_is_down_costs_a_warning_without_the_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://user:{SECRET}@127.0.0.1:{closed.getsockname()[1]}"
        command, environment = [sys.executable, "-c", DOWN], {**os.environ, "MLFLOW_TRACKING_URI": address}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    warning, last = done.stdout.splitlines()
    assert warning.startswith("textgate warning: this run is not completely in MLflow: ")
    assert SECRET not in warning
    assert last == "the training went on"


def test_a_run_does_not_start_without_the_client_that_it_needs(workspace: Any) -> None:
    (workspace.folder / "wandb").mkdir()
    (workspace.folder / "hidden").mkdir()
    (workspace.folder / "hidden" / "sitecustomize.py").write_text("import sys\nsys.modules['wandb'] = None\n")
    path = os.pathsep.join([str(workspace.folder / "hidden"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    done = workspace.run("run", "films.yaml", WANDB_API_KEY=SECRET, PYTHONPATH=path)
    assert done.returncode == 2
    assert (
        "Error: WANDB_API_KEY or WANDB_MODE enables tracking, but wandb is not installed: pip install wandb"
        in done.stderr
    )
    assert "started" not in done.stderr
    assert SECRET not in done.stderr


STALLED = """
import os, sys, time
from textgate.components.tracking import tracked_run
tracked_run.CLOSING_SECONDS = 0.5
with tracked_run.tracked_training("films") as run:
    started = time.monotonic()
    for step in range(20_000):
        run.log({"train/loss": 1.0}, step)
    assert time.monotonic() - started < 5
print("the training went on")
"""


def test_a_server_that_never_answers_stops_neither_the_training_nor_its_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        accepted: list[socket.socket] = []
        threading.Thread(target=lambda: accepted.append(silent.accept()[0]), daemon=True).start()
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        done = subprocess.run(
            [sys.executable, "-c", STALLED], env=environment, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "textgate warning: MLflow did not answer within 0 s, so this run is incomplete there",
        "the training went on",
    ]
