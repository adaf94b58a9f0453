"""Checkpoints in the store: saving, restoring, and what happens when either fails."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from textgate.components.contracts import Dataset, TransformerTraining
from textgate.components.storage import Store
from textgate.components.train.checkpoints import StoreCheckpoints, checkpoint_prefix

PREFIX = "checkpoints/one"


def write(folder: Path, **files: str) -> Path:
    """Write a checkpoint of these files, each in its own subfolder."""
    for name, content in files.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "state").write_text(content)
    return folder


def read(folder: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in folder.rglob("state")}


def restored(store: Store, folder: Path) -> dict[str, str] | None:
    """Return the files that a new process restores."""
    return read(folder) if StoreCheckpoints(store, PREFIX).restore(folder) else None


def keys(store: Store) -> list[str]:
    return [item.key for item in store.objects("checkpoints/")]


def test_the_last_checkpoint_is_restored_and_older_ones_are_deleted(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restored(store, tmp_path / "none") is None
    checkpoints = StoreCheckpoints(store, PREFIX)
    checkpoints.save(write(tmp_path / "1", model="first", optimizer="same"))
    checkpoints.save(write(tmp_path / "2", model="second", optimizer="same"))
    checkpoints.wait()
    assert not (tmp_path / "1").exists()
    assert restored(store, tmp_path / "back") == {"model": "second", "optimizer": "same"}
    assert "restored the checkpoint of 20" in capsys.readouterr().out
    assert len(keys(store)) == 3
    StoreCheckpoints(store, PREFIX).clear()
    assert len(keys(store)) == 3, "a process that never saved a checkpoint clears nothing"
    checkpoints.clear()
    assert keys(store) == []


def test_an_unchanged_file_is_uploaded_once(store: Store, tmp_path: Path) -> None:
    written: list[str] = []
    store.client.meta.events.register(
        "before-call.s3.PutObject", lambda params, **_: written.append(params["url_path"])
    )
    checkpoints = StoreCheckpoints(store, PREFIX)
    checkpoints.save(write(tmp_path / "1", model="first", optimizer="same"))
    checkpoints.save(write(tmp_path / "2", model="second", optimizer="same"))
    checkpoints.wait()
    assert len(written) == 3 + 2
    assert len(set(written)) == 3 + 1


KILLED_DURING_UPLOAD = """
import os, signal, sys
from pathlib import Path
from textgate.components.storage import Store
from textgate.components.train.checkpoints import StoreCheckpoints

store = Store.from_environment(sys.argv[1])
checkpoints = StoreCheckpoints(store, sys.argv[2])
checkpoints.save(Path("1"))
checkpoints.wait()
puts = []

def die(**_):
    puts.append(1)
    if len(puts) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

store.client.meta.events.register("before-send.s3.PutObject", die)
checkpoints.save(Path("2"))
checkpoints.wait()
"""


@pytest.mark.parametrize("put", [2, 3])
def test_after_a_kill_during_an_upload_the_previous_checkpoint_is_restored(
    put: int, store: Store, tmp_path: Path
) -> None:
    first = read(write(tmp_path / "1", model="first", optimizer="before"))
    write(tmp_path / "2", model="second", optimizer="after")
    command = [sys.executable, "-c", KILLED_DURING_UPLOAD, store.bucket, PREFIX, str(put)]
    assert subprocess.run(command, cwd=tmp_path, env=os.environ, check=False).returncode == -signal.SIGKILL
    assert restored(store, tmp_path / "back") == first
    checkpoints = StoreCheckpoints(store, PREFIX)
    checkpoints.save(write(tmp_path / "3", model="third", optimizer="later"))
    checkpoints.wait()
    assert restored(store, tmp_path / "again") == {"model": "third", "optimizer": "later"}
    assert len(keys(store)) == 3, "the files of the killed process have been deleted"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("content", "its file model/state has another sha256"),
        ("missing", "does not exist"),
        ("manifest", "its checkpoint.json names no files"),
        ("outside", "its file ../model would be outside its folder"),
    ],
)
def test_a_damaged_checkpoint_is_ignored_with_one_line_and_then_replaced(
    damage: str, message: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = StoreCheckpoints(store, PREFIX)
    checkpoints.save(write(tmp_path / "1", model="first"))
    checkpoints.wait()
    content, manifest = keys(store)
    match damage:
        case "content":
            store.put(content, b"other")
        case "missing":
            store.delete(content)
        case "manifest":
            store.put(manifest, b'{"kept"')
        case "outside":
            checkpoint = json.loads(store.get(manifest).data)  # type: ignore[union-attr]
            store.put(manifest, json.dumps({**checkpoint, "files": {"../model": content[-64:]}}).encode())
    checkpoints = StoreCheckpoints(store, PREFIX)
    assert not checkpoints.restore(tmp_path / "back")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("the stored checkpoint cannot be used, training from the beginning: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []
    checkpoints.save(write(tmp_path / "2", model="first"))
    checkpoints.wait()
    assert restored(store, tmp_path / "again") == {"model": "first"}


def test_an_unavailable_store_prints_one_line_each_without_secrets(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    checkpoints = StoreCheckpoints(Store.from_environment("gone"), PREFIX)
    assert not checkpoints.restore(tmp_path / "back")
    checkpoints.save(write(tmp_path / "1", model="first"))
    checkpoints.clear()
    output = capsys.readouterr().out
    reports = [
        "the stored checkpoint cannot be used",
        "the checkpoint was not saved",
        "the checkpoints were not deleted",
    ]
    assert [line.split(":")[0].split(",")[0] for line in output.splitlines()] == reports
    assert output.count("the store at http://127.0.0.1:9 cannot be reached") == 3
    assert environment["AWS_SECRET_ACCESS_KEY"] not in output


def test_only_the_identical_training_finds_its_checkpoints(dataset: Path, training: TransformerTraining) -> None:
    data = Dataset.open(dataset)
    other_data = Dataset(data.path, data.manifest.model_copy(update={"fingerprint": "0" * 64}))
    prefixes = [
        checkpoint_prefix(data, training, "weights", "code", 1),
        checkpoint_prefix(other_data, training, "weights", "code", 1),
        checkpoint_prefix(data, training.model_copy(update={"seed": 14}), "weights", "code", 1),
        checkpoint_prefix(data, training, "other weights", "code", 1),
        checkpoint_prefix(data, training, "weights", "other code", 1),
        checkpoint_prefix(data, training, "weights", "code", 2),
    ]
    assert len(set(prefixes)) == len(prefixes)
    assert checkpoint_prefix(data, training, "weights", "code", 1) == prefixes[0]
