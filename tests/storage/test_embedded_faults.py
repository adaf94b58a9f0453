"""A start of the embedded store that fails says why in one sentence, and a later start succeeds."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from textgate.components.contracts import ConflictError, InputError, StoreError
from textgate.components.storage import EmbeddedStore, Store, embedded_server, ports
from textgate.pipelines.cli import main


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "workspace")
    yield store
    if address := store.status():
        os.kill(address.pid, signal.SIGKILL)


def run_cli(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def replace_server(monkeypatch: pytest.MonkeyPatch, path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(embedded_server, "_binary", lambda: str(path))


def test_a_server_that_ends_at_once_is_reported_with_its_error(
    embedded: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "F1127 17:07:59.338790 configuration.go:26 failed to initialize store: the disk is broken"
    replace_server(monkeypatch, tmp_path / "weed", f"echo '{line}'; exit 1")
    with pytest.raises(StoreError, match=r"does not start \(failed to initialize store: the disk is broken\)") as error:
        embedded.start()
    assert f"its log is {embedded.folder / 'weed.log'}" in str(error.value)
    assert embedded.status() is None


def test_a_port_that_another_program_takes_meanwhile_is_replaced(
    embedded: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = embedded_server._binary()
    # The first server finds its S3 port in use.
    replace_server(
        monkeypatch,
        tmp_path / "weed",
        f"""
[ -e taken ] && exec {real} "$@"
touch taken
port=$(echo "$@" | sed 's/.*-s3.port=\\([0-9]*\\).*/\\1/')
{sys.executable} -c "
import os, socket, sys, time
os.closerange(3, 100)
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
open('bound', 'w')
time.sleep(60)" "$port" & echo $! > other
while [ ! -e bound ]; do sleep 0.05; done
exit 1""",
    )
    try:
        assert embedded.start().answers
    finally:
        os.kill(int((embedded.folder / "other").read_text()), signal.SIGKILL)


def test_a_server_that_never_answers_is_ended_after_a_wait_that_is_announced(
    embedded: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    replace_server(monkeypatch, tmp_path / "weed", "exec sleep 600")
    monkeypatch.setattr("textgate.components.storage.embedded_probe._PROBE_SECONDS", 0.5)
    monkeypatch.setattr("textgate.components.storage.embedded._SILENT_SECONDS", 0.2)
    with pytest.raises(StoreError, match="does not start"):
        embedded.start()
    assert f"waiting for the embedded store of {embedded.workspace}" in capfd.readouterr().err
    assert embedded.status() is None


def test_without_free_ports_nothing_is_started(embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_PORTS", range(10_000, 10_004))
    with pytest.raises(StoreError, match="needs 5 free ports from 10000 to 10003"):
        embedded.start()
    assert embedded.status() is None


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "store").touch()
    for workspace in (tmp_path / "file", tmp_path / "workspace"):
        with pytest.raises(InputError, match=f"the embedded store cannot use {workspace}/store .*--workspace"):
            EmbeddedStore(workspace).start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """Return a store that the tests start and may stop."""
    store = EmbeddedStore(tmp_path_factory.mktemp("workspace"))
    yield store
    if address := store.status():
        os.kill(address.pid, signal.SIGKILL)


def test_damaged_credentials_are_named(shared: EmbeddedStore) -> None:
    shared.start()
    path = shared.folder / "s3.json"
    content = path.read_text()
    path.write_text("{")
    with pytest.raises(InputError, match=f"{path}, .* stop the store, delete the file, and start the store again"):
        shared.environment()
    path.write_text(content)


def test_a_server_that_cannot_be_seen_is_not_joined_by_another(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = shared.start()
    with monkeypatch.context() as container:
        # As in a container with processes of its own.
        container.setattr("textgate.components.storage.embedded.find_server", lambda *_: None)
        container.setattr("textgate.components.storage.embedded._START_SECONDS", 0.3)
        for command in (shared.start, shared.status, shared.stop):
            with pytest.raises(StoreError, match="runs where this command cannot see it"):
                command()
    assert shared.start() == address


def test_a_suspended_server_is_reported_and_can_be_stopped(
    shared: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textgate.components.storage.embedded_server._ANSWER_SECONDS", 0.2)
    address = shared.start()
    os.kill(address.pid, signal.SIGSTOP)
    try:
        answer = json.loads(run_cli("store", "status", "--json", "--workspace", str(shared.workspace)))
        assert answer == {"running": True, "answers": False, "endpoint": address.endpoint}
        sentence = run_cli("store", "status", "--workspace", str(shared.workspace))
        assert f"(process {address.pid}) does not answer" in sentence
        assert run_cli("store", "stop", "--workspace", str(shared.workspace)) == "stopped\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(address.pid, signal.SIGCONT)
    assert run_cli("store", "stop", "--workspace", str(shared.workspace)) == "the store was not running\n"
    answer = json.loads(run_cli("store", "status", "--json", "--workspace", str(shared.workspace)))
    assert answer == {"running": False, "answers": False, "endpoint": None}


def test_a_command_that_holds_the_lock_is_waited_for_within_bounds(
    embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.folder.mkdir(parents=True)
    monkeypatch.setattr("textgate.components.storage.embedded._LOCK_SECONDS", 0.1)
    with FileLock(embedded.folder / ".lock"), pytest.raises(ConflictError, match="another command has been starting"):
        embedded.start()


@pytest.mark.slow
def test_no_moment_at_which_a_start_is_killed_prevents_the_next(
    embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(18)
    command = [sys.executable, "-c", "from textgate.pipelines.cli import main; main()", "store", "start"]
    stored: list[str] = []
    for index in range(30):
        start = subprocess.Popen([*command, "--workspace", str(embedded.workspace)], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 2))
        start.kill()
        start.wait()
        address = embedded.status()
        if address and rng.random() < 0.5:
            os.kill(address.pid, signal.SIGKILL)
        assert embedded.start().answers
        for name, value in embedded.environment().items():
            monkeypatch.setenv(name, value)
        store = Store.from_environment()
        store.ensure_bucket()
        store.put(f"key-{index}", b"kept")
        stored.append(f"key-{index}")
        assert sorted(item.key for item in store.objects("key-")) == sorted(stored)
        assert {content.data for key in stored if (content := store.get(key))} == {b"kept"}
        os.kill(embedded.start().pid, signal.SIGKILL)
