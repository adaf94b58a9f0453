"""Processes of a run's steps, which end with the step and with the run."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

import psutil

from textgate.components.contracts import MachineError
from textgate.pipelines.interrupts import deferred_signals

_GRACE_SECONDS = 0.25
"""Time between SIGTERM and SIGKILL."""
_POLL_SECONDS = 0.02


def killed_error(step: str, code: int) -> MachineError | None:
    """Return the error of a step that SIGKILL ended, also if its shell reports that by an exit code; else None."""
    if code not in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return None
    return MachineError(
        f"step {step} was killed (SIGKILL), as Linux does when memory runs out: end other processes, or set smaller "
        "batches in the recipe"
    )


class StepProcesses:
    """Processes of the steps that run now.

    Each process leads a process group of its own, so a Ctrl-C on the terminal reaches the run only, and the run ends
    the groups with everything that they have started.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Create the set of processes of a run, which is empty.

        Args:
            environment: Variables that the processes get besides those of this process.
        """
        self._environment = environment
        self._running: set[int] = set()
        self._ending: threading.Thread | None = None
        self.stopped = False
        """Whether ``stop`` was called; a process that is started later is killed at once."""

    def run_process(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> int:
        """Run a process, print its output line by line, and return its exit code; negative after a signal.

        Replaces ``kfp.local.subprocess_task_handler.run_local_subprocess``.
        """
        with deferred_signals():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                bufsize=1,
                env={**os.environ, **self._environment, **(variables or {})},
                process_group=0,
            )
            self._running.add(process.pid)
        try:
            if self.stopped:
                _kill(_tree(process.pid), signal.SIGKILL)
            # What a dead step leaves running would keep its output open, and the run waiting.
            ending = threading.Thread(target=_end_group_after, args=(process.pid,), daemon=True)
            ending.start()
            for line in process.stdout or ():
                print(line, end="")
            print("\n")
            ending.join()
        finally:
            self._join()
            _kill(_tree(process.pid), signal.SIGKILL)
            process.wait()
            self._running.discard(process.pid)
            if process.stdout:
                process.stdout.close()
        return process.returncode

    def stop(self) -> None:
        """End every process with SIGTERM, after a grace period with SIGKILL; do not wait."""
        self.stopped = True
        trees = [_tree(pid) for pid in self._running]
        for tree in trees:
            _kill(tree, signal.SIGTERM)
        self._ending = threading.Thread(target=_end, args=(trees,), daemon=True)
        self._ending.start()

    def _join(self) -> None:
        """Wait until the processes that ``stop`` ends have ended."""
        if self._ending is not None:
            self._ending.join(2 * _GRACE_SECONDS)


def _end(trees: list[list[psutil.Process]]) -> None:
    """Kill the processes that are still running after the grace period."""
    _wait(trees)
    for tree in trees:
        _kill(tree, signal.SIGKILL)
    _wait(trees)


def _wait(trees: list[list[psutil.Process]]) -> None:
    """Wait until no process of the trees runs, at most for the grace period."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and any(_is_running(process) for tree in trees for process in tree):
        time.sleep(_POLL_SECONDS)


def _is_running(process: psutil.Process) -> bool:
    # Not Process.wait, which would take the exit code from Popen.
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _end_group_after(leader: int) -> None:
    """Wait for the leader of a process group, and kill the group."""
    with contextlib.suppress(ChildProcessError):
        # Not reaped here, so that its process id still names the group.
        os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
        _kill(_tree(leader), signal.SIGKILL)


def _tree(leader: int) -> list[psutil.Process]:
    """Return the leader of a process group and its descendants, also those in other groups, as torchrun starts them."""
    try:
        process = psutil.Process(leader)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _kill(tree: list[psutil.Process], sign: signal.Signals) -> None:
    """Send a signal to the processes of a tree and to the group of its first one."""
    if tree:
        with contextlib.suppress(OSError):
            os.killpg(tree[0].pid, sign)
    for process in tree[1:]:
        with contextlib.suppress(psutil.Error):
            process.send_signal(sign)
