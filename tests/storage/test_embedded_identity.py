"""An embedded store belongs to one folder, by whatever path that is reached, and each folder has its own server."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from storage.embedded_v010 import launch_v010

from textgate.components.storage import EmbeddedStore, ServerAddress, Store

OpenStore = Callable[[EmbeddedStore], Store]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a workspace; the servers of all folders beside it are killed."""
    yield tmp_path / "workspace"
    for folder in tmp_path.iterdir():
        if address := EmbeddedStore(folder).status():
            os.kill(address.pid, signal.SIGKILL)


@pytest.fixture
def open_store(monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    def open_store(embedded: EmbeddedStore) -> Store:
        embedded.start()
        for name, value in embedded.environment().items():
            monkeypatch.setenv(name, value)
        store = Store.from_environment()
        store.ensure_bucket()
        return store

    return open_store


def content(store: Store, key: str) -> bytes | None:
    found = store.get(key)
    return found.data if found else None


def test_a_workspace_is_found_by_any_path_and_a_copy_is_another_store(
    workspace: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = EmbeddedStore(workspace)
    open_store(original).put("before", b"1")
    address = original.start()
    keys = original.environment()

    renamed = workspace.rename(workspace.with_name("renamed"))
    workspace.symlink_to(renamed)
    monkeypatch.chdir(renamed)
    for path in (renamed, workspace, Path(), Path("../renamed/store/..")):
        assert EmbeddedStore(path).start() == EmbeddedStore(path).status() == address
        assert EmbeddedStore(path).environment() == keys
    (renamed / "store" / "state.json").unlink()  # as if the command had been killed before the server answered
    assert EmbeddedStore(renamed).start() == address

    store = open_store(EmbeddedStore(renamed))
    Store(store.client, "made-after-renaming").ensure_bucket()
    Store(store.client, "made-after-renaming").put("after", os.urandom(1_000_000))

    shutil.copytree(renamed / "store", workspace.with_name("copy") / "store", ignore=shutil.ignore_patterns("*.sock"))
    copy = EmbeddedStore(workspace.with_name("copy"))
    assert copy.status() is None
    assert not copy.stop()
    assert content(open_store(copy), "before") == b"1"
    assert copy.start() != address
    assert {*copy.environment().values()} & {*keys.values()} == {"us-east-1"}
    open_store(copy).put("before", b"changed")

    assert content(open_store(original), "before") == b"1"
    assert original.start() == address
    assert original.stop()
    assert copy.status() is not None
    # Another program takes a port of the stopped store.
    with socket.create_server(("127.0.0.1", int(address.endpoint.rpartition(":")[2]))):
        assert original.start().endpoint != address.endpoint
    assert content(open_store(original), "before") == b"1"
    assert original.environment()["AWS_SECRET_ACCESS_KEY"] == keys["AWS_SECRET_ACCESS_KEY"]


def test_a_store_of_version_010_is_adopted(workspace: Path, open_store: OpenStore) -> None:
    embedded = EmbeddedStore(workspace)
    pid, keys = launch_v010(embedded.folder)
    assert embedded.start().pid == pid
    open_store(embedded).put("key", b"1")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert content(open_store(embedded), "key") == b"1"
    assert embedded.environment()["AWS_ACCESS_KEY_ID"] == keys["accessKey"]
    assert "[grpc.filer]" in (embedded.folder / "security.toml").read_text()


@pytest.mark.slow
def test_a_server_of_version_010_is_replaced_after_a_move(workspace: Path, open_store: OpenStore) -> None:
    # It writes to the path where it was started.
    pid, keys = launch_v010(workspace / "store")
    open_store(EmbeddedStore(workspace)).put("key", b"1")
    moved = EmbeddedStore(workspace.rename(workspace.with_name("moved")))
    assert content(open_store(moved), "key") == b"1"
    assert moved.start().pid != pid
    assert moved.environment()["AWS_ACCESS_KEY_ID"] == keys["accessKey"]


@pytest.mark.slow
def test_a_server_whose_folder_was_moved_to_another_disk_is_stopped(workspace: Path, open_store: OpenStore) -> None:
    embedded = EmbeddedStore(workspace)
    open_store(embedded).put("key", b"1")
    left_behind = embedded.start()
    shutil.copytree(embedded.folder, workspace.with_name("moved") / "store", ignore=shutil.ignore_patterns("*.sock"))
    shutil.rmtree(workspace)
    moved = EmbeddedStore(workspace.with_name("moved"))
    assert content(open_store(moved), "key") == b"1"
    assert moved.start().pid != left_behind.pid
    with pytest.raises(ChildProcessError):  # it has ended, and psutil has waited for it
        os.waitpid(left_behind.pid, os.WNOHANG)


def start(workspace: Path) -> ServerAddress:
    return EmbeddedStore(workspace).start()


def test_concurrent_starts_by_different_paths_start_one_server(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.mkdir()
    link = workspace.with_name("link")
    link.symlink_to(workspace)
    monkeypatch.chdir(workspace.parent)
    paths = [workspace, link, workspace / ".." / "link", Path("workspace")]
    with ProcessPoolExecutor(len(paths), mp_context=get_context("fork")) as processes:
        addresses = set(processes.map(start, paths))
    assert len(addresses) == 1
    assert addresses == {EmbeddedStore(workspace).status()}
