"""`textgate gc`: what it removes from the store and the workspace, what it keeps, and that it is safe beside moves."""

import fcntl
import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cli.in_process import run, run_json
from filelock import FileLock

from textgate.components.contracts import ConflictError
from textgate.components.storage import Registry, Store, removal, roll_back
from textgate.components.storage.deletion import store_time
from textgate.components.storage.removal import VersionObjects, claim, remove_version

WriteBundle = Callable[[Path, bytes], Path]
EVERYTHING = ("--older-than", "0", "--grace", "0")
RUNS = [f"films-2026-01-0{day}-03-00-00-000000" for day in range(1, 7)]


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of downloads, which is empty, and set that of temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TEXTGATE_DOWNLOADS", str(tmp_path / "downloads"))
    return tmp_path / "downloads"


@pytest.fixture
def collect(store: Store, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs ``textgate gc`` and returns the names and kinds of what it removes."""

    def collect(*arguments: str) -> dict[str, str]:
        workspace = ("--workspace", str(tmp_path / "ws"), "--bucket", store.bucket)
        removed = run_json("gc", *workspace, *arguments)["removed"]
        return {item["name"].removeprefix(store.uri("")).removeprefix(f"{tmp_path}/"): item["kind"] for item in removed}

    return collect


Promote = Callable[[int], list[str]]


@pytest.fixture
def promote(store: Store, tmp_path: Path, write_bundle: WriteBundle) -> Promote:
    """Return a function that makes versions of films its champion one after the other, by runs of their own."""

    def promote(count: int) -> list[str]:
        registry, versions = Registry(store), list[str]()
        for index, name in enumerate(RUNS[:count]):
            version = registry.publish("films", write_bundle(tmp_path / f"bundle{index}", str(index).encode()))
            expected = versions[-1] if versions else None
            registry.update_channel("films", version, run=name, reason="better", expected=expected)
            versions.append(version)
        return versions

    return promote


def test_versions_are_kept_for_channels_rollbacks_and_blocks_and_removals_are_recorded(
    store: Store, promote: Promote, collect: Callable[..., Any], tmp_path: Path, write_bundle: WriteBundle
) -> None:
    registry, versions = Registry(store), promote(5)
    registry.update_channel("films", versions[0], run="move", reason="try", expected=None, channel="challenger")
    lost = registry.publish("films", write_bundle(tmp_path / "lost", b"lost"))
    history = registry.history("films")
    assert collect() == {}
    assert collect("--grace", "0") == {}
    keeps = (*EVERYTHING, "--keep-champions", "1")
    expected = {f"models/films/versions/{version}/": "version" for version in (versions[1], versions[2], lost)}
    assert collect(*keeps, "--dry-run") == expected
    assert set(registry.versions("films")) == {*versions, lost}
    assert collect(*keeps) == expected
    assert set(registry.versions("films")) == {versions[0], versions[3], versions[4]}
    assert collect(*keeps) == {}

    # Nothing of the audit is gone, and the removals are recorded.
    assert registry.history("films") == history
    where = ("--workspace", str(tmp_path / "ws"), "--bucket", store.bucket)
    records = run_json("models", "history", "films", *where)["removals"]
    assert f"  {lost} removed  " in run("models", "history", "films", *where).stdout
    assert {record["version"] for record in records} == {versions[1], versions[2], lost}
    assert all(record["removed"]["actor"] and record["bytes"] for record in records)
    assert not list(store.objects("removing/"))
    assert {item.key for item in store.objects("claims/")} == {
        f"claims/films/{version}" for version in (versions[0], versions[3], versions[4])
    }

    # A rollback finds its target, and what it blocks stays until the block is lifted.
    roll_back(registry, "films", run="back", reason="worse")
    assert collect(*keeps) == {}
    registry.unblock("films", versions[4], reason="right after all")
    assert collect(*EVERYTHING, "--keep-champions", "0") == {f"models/films/versions/{versions[4]}/": "version"}
    assert registry.publish("films", tmp_path / "bundle1") == versions[1]


def test_unfinished_uploads_runs_checkpoints_and_exchanged_files_are_removed(
    store: Store, promote: Promote, collect: Callable[..., Any]
) -> None:
    versions = promote(2)
    store.put("models/films/versions/0123456789ab/weights.bin", b"half")
    store.put("checkpoints/abc/checkpoint.json", b"{}")
    store.put("checkpoints/abc/123", b"weights")
    store.put("nodes/job/given/job.json", b"{}")
    store.client.create_multipart_upload(Bucket=store.bucket, Key="models/films/versions/large")
    record = b"{}"
    for name in RUNS[:2]:
        for file in ("record.json", "decisions/served.json", "train/model/weights.bin"):
            store.put(f"runs/{name}/{file}", record)
    store.put(f"runs/{RUNS[5]}/train/model/weights.bin", b"weights")
    store.put("feedback/films/2026-01-01/a.parquet", b"rows")

    assert collect() == {}
    assert collect(*EVERYTHING) == {
        "models/films/versions/0123456789ab/": "incomplete version",
        "models/films/versions/large": "upload",
        "checkpoints/abc/": "checkpoint",
        "nodes/job/": "files between nodes",
        f"runs/{RUNS[5]}/": "run",
    }
    assert collect(*EVERYTHING, "--keep-champions", "0") == {
        f"models/films/versions/{versions[0]}/": "version",
        f"runs/{RUNS[0]}/": "run",
    }
    left = {item.key for item in store.objects("") if item.key.startswith(("runs", "check", "nodes", "feed"))}
    assert left == {
        f"runs/{RUNS[0]}/record.json",
        f"runs/{RUNS[0]}/decisions/served.json",
        f"runs/{RUNS[1]}/record.json",
        f"runs/{RUNS[1]}/decisions/served.json",
        f"runs/{RUNS[1]}/train/model/weights.bin",
        "feedback/films/2026-01-01/a.parquet",
    }


def test_nothing_of_a_model_is_removed_while_a_pointer_cannot_be_read(
    store: Store, promote: Promote, collect: Callable[..., Any], tmp_path: Path
) -> None:
    promote(1)
    store.put("models/films/channels/challenger.json", b"{}")
    store.put(f"runs/{RUNS[1]}/train/model/weights.bin", b"weights")
    assert collect(*EVERYTHING, "--keep-champions", "0") == {}
    result = run("gc", "--workspace", str(tmp_path / "ws"), "--bucket", store.bucket)
    assert "Warning: no version of films and no run is removed, because what films needs is unknown: " in result.stderr
    assert result.stdout == "removed nothing: 0.0 MB\n"


def test_the_workspace_keeps_what_the_champion_the_cache_and_the_server_use(
    store: Store, promote: Promote, collect: Callable[..., Any], tmp_path: Path, downloads: Path
) -> None:
    workspace, versions, served = tmp_path / "ws", promote(2), "0123456789ab"

    def write(path: str, content: str = "content") -> Path:
        file = workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    for name in (*RUNS[:2], RUNS[5]):
        write(f"runs/{name}/ingest/dataset/data.parquet")
        write(f"runs/{name}/train/model/weights.bin")
    write(f"runs/{RUNS[0]}/record/executor_output.json")
    write(
        "cache/subprocess-1/used.json", json.dumps({"dataset": {"uri": f"{workspace}/runs/{RUNS[5]}/ingest/dataset"}})
    )
    write("cache/subprocess-1/broken.json", json.dumps({"dataset": {"uri": f"{workspace}/runs/gone/ingest/dataset"}}))
    for version in (*versions, served):
        write(f"models/films/{version}/bundle.json")
    write("channels/films/champion", served)
    write("models/films/.0123-abcdefgh/weights.bin")
    write("runs/.films.lock", "")
    (downloads / "https" / "abc").mkdir(parents=True)
    (downloads / "https" / "abc" / ".data.csv-abcdefgh").write_text("half")

    broken = {"ws/cache/subprocess-1/broken.json": "cache entry"}
    unfinished = {
        f"ws/runs/{RUNS[5]}/train": "run",
        "ws/models/films/.0123-abcdefgh": "temporary",
        "downloads/https/abc/.data.csv-abcdefgh": "temporary",
    }
    half = downloads / "https" / "abc" / ".data.csv-abcdefgh"
    finished = {
        f"ws/runs/{RUNS[0]}": "run",
        f"ws/models/films/{versions[0]}": "bundle",
    }
    assert collect() == broken
    assert collect("--grace", "0", "--downloads") == unfinished
    half.write_text("half")
    removed = collect(*EVERYTHING, "--keep-champions", "0")
    assert half.exists()  # it may be another workspace's
    assert collect(*EVERYTHING, "--downloads") == {"downloads/https/abc": "download"}
    expected = {**finished, "ws/cache/subprocess-1/used.json": "cache entry", f"ws/runs/{RUNS[5]}": "run"}
    assert {name: kind for name, kind in removed.items() if name.startswith("ws")} == expected
    left = {path.relative_to(workspace).as_posix() for path in workspace.rglob("*") if path.is_file()}
    assert left == {
        f"runs/{RUNS[1]}/ingest/dataset/data.parquet",
        f"runs/{RUNS[1]}/train/model/weights.bin",
        f"models/films/{versions[1]}/bundle.json",
        f"models/films/{served}/bundle.json",
        "channels/films/champion",
        "runs/.films.lock",
        "runs/.gc.lock",
    }


def test_a_bundle_that_a_server_has_open_stays(collect: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "ws" / "models" / "films" / "0123456789ab"
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    assert collect(*EVERYTHING) == {}
    os.close(handle)
    assert collect(*EVERYTHING) == {"ws/models/films/0123456789ab": "bundle"}


def test_temporary_files_of_a_killed_run_are_removed_and_those_of_a_running_one_stay(
    collect: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("killed", "running"):
        (tmp_path / "tmp" / f"textgate-run-{name}").mkdir()
        (tmp_path / "tmp" / f"textgate-run-{name}" / ".lock").touch()
    with FileLock(tmp_path / "tmp" / "textgate-run-running" / ".lock"):
        assert collect() == {}
        assert collect("--grace", "0") == {"tmp/textgate-run-killed": "temporary"}
    assert (tmp_path / "tmp" / "textgate-run-running").is_dir()


def test_a_run_under_way_keeps_its_workspace(store: Store, tmp_path: Path) -> None:
    unfinished = tmp_path / "ws" / "runs" / RUNS[0] / "train"
    unfinished.mkdir(parents=True)
    arguments = ("gc", "--workspace", str(tmp_path / "ws"), "--bucket", store.bucket, *EVERYTHING)
    with FileLock(tmp_path / "ws" / "runs" / ".films.lock"):
        result = run(*arguments)
    assert result.exit_code == 0
    assert "a run of films is under way" in result.stderr
    assert unfinished.is_dir()
    assert run(*arguments).stdout.endswith("removed 1 run: 0.0 MB\n")
    assert not unfinished.exists()


def test_a_version_that_was_claimed_after_it_was_found_is_not_removed(
    store: Store, promote: Promote, monkeypatch: pytest.MonkeyPatch
) -> None:
    (version,) = promote(1)
    found = VersionObjects.read(store, "films", version)
    newest = max(item.modified for item in found.objects)
    while store_time(store) <= newest:  # times are whole seconds
        pass
    claim(store, "films", version)
    (claimed,) = (item.modified for item in store.objects(f"claims/films/{version}"))
    monkeypatch.setattr(removal, "store_time", lambda _: claimed)
    assert not remove_version(store, found, claimed - newest, set, "unused")
    monkeypatch.setattr(removal, "store_time", lambda _: claimed + (claimed - newest))
    assert remove_version(store, found, claimed - newest, set, "unused")


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta()])
def test_a_version_that_is_about_to_be_pointed_at_is_not_removed_under_the_move(
    age: timedelta, store: Store, promote: Promote
) -> None:
    registry, versions, outcome = Registry(store), promote(2), list[Any]()
    found = VersionObjects.read(store, "films", versions[0])
    for item in found.objects:
        if item.key.startswith("claims/"):
            store.delete(item.key)

    def move() -> None:
        try:
            update = registry.update_channel("films", versions[0], run="m", reason="r", expected=None, channel="shadow")
            outcome.append(update.version)
        except ConflictError as error:
            outcome.append(str(error))

    mover = threading.Thread(target=move)

    def channels() -> set[str]:
        """Read the channels, after which the other process claims the version."""
        mover.start()
        while not any(store.objects(f"claims/films/{versions[0]}")):
            pass
        assert outcome == []
        return {versions[-1]}

    removed = remove_version(store, found, age, channels, "unused")
    mover.join()
    shadow = registry.channel("films", "shadow")
    assert removed == (age == timedelta())
    if removed:
        assert "has just been removed by textgate gc: run again" in outcome[0]
        assert shadow is None
        assert versions[0] not in registry.versions("films")
    else:
        assert outcome == [versions[0]]
        registry.bundle("films", versions[0])


def test_a_removal_that_was_killed_is_completed_by_another_one(
    store: Store, promote: Promote, collect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    versions = promote(2)
    store.put(f"removing/films/{versions[0]}", b"another process")
    store.delete(f"models/films/versions/{versions[0]}/bundle.json")
    assert collect(*EVERYTHING) == {}
    monkeypatch.setattr(removal, "_LEASE_SECONDS", -1)
    assert collect(*EVERYTHING) == {f"models/films/versions/{versions[0]}/": "incomplete version"}
    # Whoever publishes the version does not wait for a process that was killed.
    store.put(f"removing/films/{versions[0]}", b"another process")
    assert Registry(store).publish("films", tmp_path / "bundle0") == versions[0]
    assert versions[0] in Registry(store).versions("films")
