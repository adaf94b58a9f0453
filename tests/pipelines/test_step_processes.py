"""Processes of a run's steps: their output and exit code, and that nothing of them outlives the run."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from textgate.pipelines.interrupts import Interrupted, deferred_signals, raised_signals
from textgate.pipelines.runners.step_processes import StepProcesses

CHILDREN = """
import os, signal, subprocess, sys, time
if {ignores}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeps = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
children = [subprocess.Popen(sleeps), subprocess.Popen(sleeps, start_new_session=True)]
with open({pids!r}, "w") as file:
    print(*[os.getpid(), *[child.pid for child in children]], file=file)
time.sleep(600)
"""
"""Step with a child in its process group and, as torchrun starts them, one in another."""


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that nobody has waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_process_gets_the_runs_variables_and_returns_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    processes = StepProcesses({"TMPDIR": "/run/of/this"})
    code = "import os, sys; print(os.environ['TMPDIR'], os.environ['A']); sys.exit(5)"
    assert processes.run_process([sys.executable, "-c", code], {"A": "b"}) == 5
    assert capsys.readouterr().out.splitlines()[0] == "/run/of/this b"


@pytest.mark.parametrize("ignores", [False, True])
def test_stopping_ends_a_step_with_everything_that_it_has_started(ignores: bool, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    processes = StepProcesses({})
    code = CHILDREN.format(ignores=ignores, pids=str(pids))
    step = threading.Thread(target=processes.run_process, args=([sys.executable, "-c", code],))
    step.start()
    started = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    before = time.monotonic()
    processes.stop()
    step.join()
    assert time.monotonic() - before < 1
    assert len(started) == 3
    assert not any(map(is_alive, started))


def test_a_step_that_starts_after_the_stop_is_killed_at_once() -> None:
    processes = StepProcesses({})
    processes.stop()
    assert processes.run_process([sys.executable, "-c", "import time; time.sleep(600)"]) == -signal.SIGKILL


def test_what_a_step_leaves_running_ends_with_the_step(tmp_path: Path) -> None:
    code = (
        "import pathlib, subprocess; pid = subprocess.Popen(['sleep', '600']).pid; "
        f"pathlib.Path({str(tmp_path)!r}, 'pid').write_text(str(pid))"
    )
    assert StepProcesses({}).run_process([sys.executable, "-c", code]) == 0
    left, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 5
    while psutil.pid_exists(left) and is_alive(psutil.Process(left)):
        assert time.monotonic() < deadline


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Set the default handlers, which a test runner in the background of a shell does not have, and restore them."""
    defaults = {
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {sign: signal.signal(sign, handler) for sign, handler in defaults.items()}
    yield
    for sign, handler in before.items():
        signal.signal(sign, handler)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("default_signals")
def test_a_signal_is_an_exception_with_the_exit_code_that_shells_report(sign: signal.Signals, code: int) -> None:
    calls: list[str] = []
    with (
        pytest.raises(Interrupted) as raised,
        raised_signals(lambda: calls.append("outer")),
        raised_signals(lambda: calls.append("inner")),
    ):
        signal.raise_signal(sign)
    # The first signal has begun the cleanup, which others do not end.
    signal.raise_signal(signal.SIGTERM)
    assert raised.value.exit_code == code
    assert calls == ["inner", "outer"]


@pytest.mark.usefixtures("default_signals")
def test_an_ignored_signal_stays_ignored_and_handlers_are_restored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with raised_signals():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_between_start_and_registration_of_a_process_is_handled_after_it() -> None:
    events: list[str] = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(Interrupted), raised_signals(lambda: events.append("handled")), deferred_signals():
            signal.raise_signal(signal.SIGTERM)
            events.append("registered")
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert events == ["registered", "handled"]
