"""What tracking services hold: runs in W&B's offline files, and a real MLflow server on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class OfflineRun:
    """Run of W&B, read from its offline files in the order they were written, as ``wandb sync`` reads them."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.ids: set[str] = set()
        self.files = sorted(path for path in folder.glob("offline-run-*/**/*") if path.is_file())
        for path in (path for path in self.files if path.suffix == ".wandb"):
            for record in _records(path.read_bytes()):
                self._add(record)

    def _add(self, record: Any) -> None:
        match record.WhichOneof("record_type"):
            case "run":
                self.ids.add(record.run.run_id)
            case "config":
                self.config.update({item.key: json.loads(item.value_json) for item in record.config.update})
            case "summary":
                self.summary.update({_key(item): json.loads(item.value_json) for item in record.summary.update})
            case "history":
                self.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})

    def curve(self, name: str) -> list[tuple[int, float]]:
        return [(entry["train/global_step"], entry[name]) for entry in self.history if name in entry]


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(data: bytes) -> Iterator[Any]:
    """Yield the records of a file in LevelDB's log format (doc/log_format.md there), after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    position, content = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        content += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole record, or its last part
            yield Record.FromString(content)
            content = b""


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run an MLflow server with its database and artifacts in a folder; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with open(folder / "mlflow.log", "wb") as log:
        server = subprocess.Popen([*command, *stores], stdout=log, stderr=log, cwd=folder, process_group=0)
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"{address}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail((folder / "mlflow.log").read_text())
            time.sleep(0.1)
        yield address
    finally:
        # It would wait for the connections that clients keep open.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
