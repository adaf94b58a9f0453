"""An embedded store belongs to one folder, by whatever path that is reached, and each folder has its own server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from storage.embedded_v010 import launch_v010

from textgate.components.storage import EmbeddedStore, Store

OpenStore = Callable[[EmbeddedStore], Store]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a workspace; the servers of all folders beside it are stopped."""
    yield tmp_path / "workspace"
    for folder in tmp_path.iterdir():
        EmbeddedStore(folder).stop()


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
    assert embedded.environment()["AWS_ACCESS_KEY_ID"] == keys["accessKey"]
    open_store(embedded).put("key", b"1")

    # It writes to the path where it was started: after a move, it is replaced.
    moved = EmbeddedStore(workspace.rename(workspace.with_name("moved")))
    assert content(open_store(moved), "key") == b"1"
    assert moved.start().pid != pid
    assert moved.environment()["AWS_ACCESS_KEY_ID"] == keys["accessKey"]
    assert "[grpc.filer]" in (moved.folder / "security.toml").read_text()


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


def test_concurrent_starts_by_different_paths_start_one_server(workspace: Path) -> None:
    workspace.mkdir()
    link = workspace.with_name("link")
    link.symlink_to(workspace)
    script = """
import sys
from pathlib import Path
from textgate.components.storage import EmbeddedStore
print(EmbeddedStore(Path(sys.argv[1])).start())
"""
    paths = [str(workspace), str(link), f"{workspace}/../link", "workspace"]
    starts = [
        subprocess.Popen([sys.executable, "-c", script, path], cwd=workspace.parent, stdout=subprocess.PIPE, text=True)
        for path in paths
    ]
    addresses = {start.communicate()[0] for start in starts}
    assert len(addresses) == 1
    assert addresses == {f"{EmbeddedStore(workspace).status()}\n"}


def test_a_suspended_server_is_reported_and_can_be_stopped(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textgate.components.storage.embedded_server._ANSWER_SECONDS", 0.2)
    embedded = EmbeddedStore(workspace)
    address = embedded.start()
    os.kill(address.pid, signal.SIGSTOP)
    status = embedded.status()
    assert status is not None
    assert (status.pid, status.answers) == (address.pid, False)
    assert embedded.stop()
    assert embedded.status() is None
    assert json.loads((embedded.folder / "state.json").read_text())["pid"] == address.pid
