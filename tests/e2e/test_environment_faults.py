"""Faults of the machine that a run meets: one sentence each, and the next run succeeds.

Small and read-only disks are tmpfs mounts in a mount namespace of the command (unshare(1)), which needs root or user
namespaces.
"""

import os
import re
import shlex
import signal
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
RUN = f"{TEXTGATE} run films.yaml"
FULL = "is full: free space there, or name another folder"
# The capability lets the user into the folders of root's Python, and nothing more.
AS_NAMELESS = (
    "setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search"
)


@dataclass(frozen=True)
class Fault:
    """A command in an environment with a fault, and what it says."""

    command: str
    """Shell command; ``disk`` is an empty folder."""
    sentence: str
    """Part of the error's sentence."""
    code: int = 6
    rerun: str = RUN
    """The command without the fault."""


def mounted(options: str, command: str) -> str:
    """Return a shell command that runs another one while ``disk`` is a tmpfs with these options."""
    script = f"mount -t tmpfs -o {options} tmpfs disk && {command}"
    namespaces = "--mount" if os.geteuid() == 0 else "--mount --map-root-user"
    return f"unshare {namespaces} sh -c {shlex.quote(script)}"


ON_DISK = f"{RUN} --workspace disk/workspace"
FAULTS = {
    "read-only": Fault(mounted("ro", ON_DISK), "disk/workspace is on a read-only file system", rerun=ON_DISK),
    "full": Fault(mounted("size=200k", ON_DISK), FULL, rerun=ON_DISK),
    "no inodes": Fault(mounted("nr_inodes=30", ON_DISK), "is full: free inodes (df -i) there", rerun=ON_DISK),
    "full TMPDIR": Fault(
        mounted("size=16k", f"(head -c 100000 /dev/zero >disk/zeros; TMPDIR=disk exec {RUN})"),
        FULL,
        rerun=f"TMPDIR=disk {RUN}",
    ),
    "absent TMPDIR": Fault(f"TMPDIR=absent {RUN}", "TMPDIR is absent, which is no folder"),
    "no home": Fault(
        f"chmod 777 . disk; env -u HOME {AS_NAMELESS} {ON_DISK}", "user 54321 has no home folder: set HOME"
    ),
    "no permission": Fault(
        f"mkdir disk/workspace; chmod 500 disk/workspace; HOME=/tmp {AS_NAMELESS} {ON_DISK}",
        "user 54321 has no permission for ",
    ),
    "below a file": Fault(f"{RUN} --workspace films.yaml/workspace", "films.yaml/workspace is below a file"),
    "open files": Fault(f"(ulimit -n 12; exec {RUN})", "cannot open more than 12 files: allow more (ulimit -n)"),
    "full output": Fault(f"{RUN} >/dev/full", "standard output cannot be written: No space left on device"),
}


def shell(workspace: Any, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=workspace.folder,
        env=workspace.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_machine_is_one_sentence_and_the_next_run_succeeds(workspace: Any, name: str) -> None:
    fault = FAULTS[name]
    (workspace.folder / "disk").mkdir()
    failed = shell(workspace, fault.command)
    (error,) = [line for line in failed.stderr.splitlines() if line.startswith("Error: ")]
    assert fault.sentence in error
    assert "Traceback" not in failed.stdout + failed.stderr
    assert failed.returncode == fault.code
    last = failed.stderr.splitlines()[-1]
    if "started\n" in failed.stderr:  # also if only the result could not be printed
        assert last.startswith("the champion of films ")
    rerun = shell(workspace, fault.rerun)
    assert rerun.returncode == 0, rerun.stderr


@pytest.mark.slow
def test_a_run_goes_on_without_a_standard_error_that_can_be_written(workspace: Any) -> None:
    done = shell(workspace, f"{RUN} 2>/dev/full")
    assert done.returncode == 0
    assert "promoted  films " in done.stdout
    done = shell(workspace, f"{RUN} 2>&-")
    assert done.returncode == 0
    assert "promoted  nothing" in done.stdout


@pytest.mark.slow
def test_doctor_says_that_the_workspace_cannot_be_written(workspace: Any) -> None:
    (workspace.folder / "disk").mkdir()
    done = shell(workspace, mounted("ro", f"{TEXTGATE} doctor --workspace disk"))
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fix ")]
    assert re.match(r"fix  workspace: \S*disk/doctor is on a read-only file system: name another folder", line)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_cannot_be_written_is_one_sentence(workspace: Any) -> None:
    done = shell(workspace, f"{TEXTGATE} recipes >/dev/full")
    assert (done.returncode, done.stderr) == (
        6,
        "Error: standard output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("arguments", [["recipes"], ["--help"]])
def test_a_command_whose_reader_has_ended_ends_silently_as_if_by_sigpipe(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([TEXTGATE, *arguments], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
