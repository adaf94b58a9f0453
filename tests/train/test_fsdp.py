"""A model sharded over two processes by FSDP."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from textgate.components.contracts import ModelBundle, TransformerTraining
from textgate.components.storage import Store
from textgate.components.train.launch import TrainingJob, run


@pytest.mark.slow
def test_a_sharded_model_reaches_the_loss_of_an_unsharded_one(
    dataset: Path,
    training: TransformerTraining,
    without_dropout: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scalars: Callable[[Path], dict[str, dict[int, float]]],
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    changes = {"base_model": str(without_dropout), "micro_batch_size": None, "epochs": 1, "fsdp": True}
    settings = training.model_copy(update=changes)
    alone = run(
        TrainingJob(dataset, "films", settings, "code", store.bucket, tmp_path / "1/model", tmp_path / "1/logs")
    )

    fields = {"name": "films", "training": settings.model_dump(mode="json"), "code": "code"}
    store.upload_folder(dataset, "nodes/films/given/dataset")
    store.put("nodes/films/given/job.json", json.dumps(fields).encode())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    process = subprocess.run(
        [
            *torchrun,
            f"--master-port={port}",
            str(Path(__file__).with_name("fsdp_on_cpu.py")),
            store.bucket,
            "nodes/films",
        ],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert "sharded by FSDP" in process.stdout
    store.download_folder("nodes/films/made", tmp_path / "2")
    together = ModelBundle.load(tmp_path / "2/model")
    assert together.metrics == pytest.approx(alone.metrics, abs=1e-3)
    expected, actual = scalars(tmp_path / "1/logs"), scalars(tmp_path / "2/logs")
    assert actual.keys() == expected.keys()
    for tag, values in expected.items():
        assert actual[tag] == pytest.approx(values, rel=5e-3, abs=1e-3), tag
    assert list(store.objects("checkpoints/")) == []
