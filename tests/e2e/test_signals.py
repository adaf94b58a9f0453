"""Runs that a signal ends in each of their phases: exit code, time, what is left behind, and how to go on."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
SECONDS = 1.5
"""A command ends within a second of a signal; on a busy machine it is noticed later."""


@dataclass
class Ended:
    """What a command that was ended by a signal has left."""

    code: int
    seconds: float
    stdout: str
    lines: list[str]
    """Lines of standard error."""
    processes: list[psutil.Process]
    """Processes that it had started and that still run."""
    temporary: list[Path]


def interrupt(workspace: Any, sign: signal.Signals, at: str, *arguments: str, wait: float = 0.0, **env: str) -> Ended:
    """Run a command, and send it a signal some seconds after a line that begins with ``at``, or after its start."""
    temporary = workspace.folder / "temporary"
    temporary.mkdir(exist_ok=True)
    command = subprocess.Popen(
        [TEXTGATE, *arguments],
        cwd=workspace.folder,
        env={**workspace.environment, "TMPDIR": str(temporary), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    lines = []
    while at and not (lines and lines[-1].startswith(at)):
        lines.append(command.stderr.readline())
        assert lines[-1], "".join(lines)
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(wait)
    processes = psutil.Process(command.pid).children(recursive=True)
    started = time.monotonic()
    command.send_signal(sign)
    stdout, stderr = command.communicate(timeout=30)
    seconds = time.monotonic() - started
    return Ended(
        command.returncode,
        seconds,
        stdout,
        [*map(str.rstrip, lines), *stderr.splitlines()],
        [process for process in processes if is_alive(process)],
        list(temporary.iterdir()),
    )


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check(ended: Ended, sign: signal.Signals, *last: str) -> None:
    """Check that a command ended in time with the signal's code, these last lines, and nothing left behind."""
    assert ended.code == 128 + sign, ended.lines
    assert ended.lines[-len(last) :] == [f"interrupted by {sign.name}: {last[0]}", *last[1:]]
    assert not any("Traceback" in line for line in ended.lines)
    assert ended.seconds < SECONDS
    assert (ended.processes, ended.temporary) == ([], [])


CACHED = "run the same command again; completed steps come from the cache"


def test_a_command_that_is_no_run_ends_with_one_sentence(workspace: Any) -> None:
    reader, writer = os.pipe()
    command = subprocess.Popen(
        [TEXTGATE, "predict", "films"],
        cwd=workspace.folder,
        env=workspace.environment,
        stdin=reader,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The command reads its texts from the pipe once all is imported and the handlers are in place.
    while not reads_input(command.pid):
        assert command.poll() is None
    command.send_signal(signal.SIGTERM)
    _, stderr = command.communicate(timeout=30)
    os.close(writer)
    os.close(reader)
    assert command.returncode == 143
    assert stderr == "interrupted by SIGTERM: run the same command again\n"


def reads_input(pid: int) -> bool:
    """Return whether the process waits in a read of its standard input (proc_pid_syscall(5); 0 is read on x86-64)."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[:2] == ["0", "0x0"]


@pytest.mark.slow
def test_a_signal_ends_a_run_in_each_phase_and_the_next_run_goes_on(workspace: Any) -> None:
    run = ("run", "films.yaml")
    unmoved = (CACHED, "the champion of films did not move")
    check(interrupt(workspace, signal.SIGINT, "ingest: started", *run), signal.SIGINT, *unmoved)
    check(interrupt(workspace, signal.SIGHUP, "preprocess: started", *run, wait=0.5), signal.SIGHUP, *unmoved)
    check(interrupt(workspace, signal.SIGTERM, "train: started", *run, wait=1), signal.SIGTERM, *unmoved)
    gate = interrupt(workspace, signal.SIGTERM, "gate-trained: started", *run, "--json", wait=1)
    check(gate, signal.SIGTERM, *unmoved)
    assert "gate-trained: interrupted" in "\n".join(gate.lines)
    assert json.loads(gate.stdout) == {
        "error": "interrupted by SIGTERM",
        "exit_code": 143,
        "model": "films",
        "champion": None,
        "champion_moved": False,
    }
    # Of the interrupted steps there are no artifacts, and the log tells what happened until then.
    folders = sorted((workspace.folder / ".textgate" / "runs").glob("films-*"))
    assert not (folders[-1] / "gate-trained").exists()
    assert all((folder / "log.txt").exists() for folder in folders)

    completed = workspace.run_json(*run)
    outcomes = {step["name"]: step["outcome"] for step in completed["steps"]}
    assert completed["verdict"] == "promote"
    assert {outcomes[name] for name in ("ingest", "preprocess", "check-labels", "train", "evaluate")} == {"cached"}

    # After the promotion the last line names the new champion.
    change = ("--set", "train.C=3", "--set", "gate.margin=0.5")
    moved = interrupt(workspace, signal.SIGINT, "record: started", *run, *change)
    version = workspace.run_json("models", "list")["models"][0]["channels"]["champion"]
    if version != completed["version"]:
        check(moved, signal.SIGINT, CACHED, f"the champion of films is now {version}")
    else:
        check(moved, signal.SIGINT, *unmoved)


@pytest.mark.slow
def test_a_signal_ends_every_process_of_a_training_and_every_iteration_of_a_sweep(
    workspace: Any, tiny_encoder: Path
) -> None:
    recipe = (workspace.folder / "films.yaml").read_text()
    settings = "max_tokens: 16, epochs: 500, batch_size: 8, learning_rate: 3e-3"
    training = f"{{family: transformer, base_model: {tiny_encoder}, {settings}}}"
    (workspace.folder / "encoder.yaml").write_text(recipe.replace("{family: linear, min_df: 1}", training))
    unmoved = (CACHED, "the champion of films did not move")
    two = interrupt(workspace, signal.SIGTERM, "train: epoch", "run", "encoder.yaml", TEXTGATE_PROCESSES="2")
    check(two, signal.SIGTERM, *unmoved)
    sweep = ("run", "encoder.yaml", "--sweep", "train.learning_rate=1e-3,2e-3")
    check(interrupt(workspace, signal.SIGINT, "train (", *sweep, wait=4), signal.SIGINT, *unmoved)


@pytest.mark.slow
def test_the_cursor_of_the_terminal_is_shown_again(workspace: Any) -> None:
    ours, theirs = pty.openpty()
    environment = {**workspace.environment, "TERM": "xterm-256color"}
    command = subprocess.Popen(
        [TEXTGATE, "run", "films.yaml"],
        cwd=workspace.folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # a pseudo-terminal raises this when its other side is closed
        while piece := os.read(ours, 65_536):
            if b"\x1b[?25l" in piece and b"\x1b[?25l" not in shown:
                command.send_signal(signal.SIGTERM)
            shown += piece
    os.close(ours)
    assert command.wait() == 143, shown.decode()
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"the champion of films did not move" in shown


@pytest.mark.slow
def test_a_signal_also_ends_a_run_whose_store_hangs(workspace: Any) -> None:
    """Its uploads and its question about the champion get no answer."""
    port = workspace.environment["AWS_ENDPOINT_URL_S3"].rpartition(":")[2]
    servers = [
        psutil.Process(connection.pid)
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == int(port) and connection.pid
    ]
    command = subprocess.Popen(
        [TEXTGATE, "run", "films.yaml"],
        cwd=workspace.folder,
        env=workspace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    for line in command.stderr:
        if line.startswith("preprocess: started"):
            break
    for server in servers:
        server.suspend()
    try:
        started = time.monotonic()
        command.send_signal(signal.SIGINT)
        _, stderr = command.communicate(timeout=30)
        seconds = time.monotonic() - started
    finally:
        for server in servers:
            server.resume()
    assert len(servers) == 1
    assert (command.returncode, seconds < SECONDS) == (130, True)
    assert stderr.splitlines()[-1] == "unknown: the store does not answer, see `textgate models history films`"
