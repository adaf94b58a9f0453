import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from textgate.components.contracts import InputError
from textgate.components.storage import EmbeddedStore, Store, connect


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path)
    yield store
    store.stop()


def client(embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in embedded.environment().items():
        monkeypatch.setenv(name, value)
    return Store.from_environment()


def test_a_store_keeps_its_data_over_stop_and_kill(embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert embedded.status() is None
    assert not embedded.stop()
    address = embedded.start()
    assert embedded.start() == embedded.status() == address
    store = client(embedded, monkeypatch)
    store.ensure_bucket()
    store.put("key", b"kept")
    environment = embedded.environment()
    assert embedded.stop()
    assert embedded.status() is None
    with pytest.raises(InputError, match="is not running"):
        embedded.environment()

    assert embedded.start().endpoint == address.endpoint
    assert embedded.environment() == environment
    assert store.get("key").data == b"kept"  # type: ignore[union-attr]

    killed = embedded.start().pid
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    restarted = embedded.start()
    assert restarted.endpoint == address.endpoint
    assert store.get("key").data == b"kept"  # type: ignore[union-attr]


def test_a_process_that_reuses_the_pid_is_not_stopped(embedded: EmbeddedStore) -> None:
    embedded.start()
    state = json.loads((embedded.folder / "state.json").read_text())
    embedded.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (embedded.folder / "state.json").write_text(json.dumps({**state, "pid": bystander.pid}))
        assert embedded.status() is None
        assert not embedded.stop()
        assert bystander.poll() is None
        assert embedded.start().pid != bystander.pid
    finally:
        bystander.communicate(b"\n")


def test_connect_uses_an_endpoint_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    connect(tmp_path)
    assert list(tmp_path.iterdir()) == []
