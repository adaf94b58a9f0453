"""step_work: a message instead of a traceback for an InputError, and the seconds of work."""

import os
import subprocess
import sys

STEP = """
from textgate.components.step import InputError, step_work
with step_work():
    {body}
"""


def run_step(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", STEP.format(body=body)], capture_output=True, text=True)


def test_an_input_error_ends_a_step_with_one_line_and_exit_code_2() -> None:
    step = run_step("raise InputError('no column x')")
    assert step.returncode == 2
    assert "textgate error: no column x\n" in step.stdout
    assert step.stderr == ""


def test_any_other_error_keeps_its_traceback() -> None:
    step = run_step("raise KeyError('bug')")
    assert step.returncode == 1
    assert "Traceback" in step.stderr


def test_only_the_seconds_of_work_are_printed() -> None:
    (line,) = run_step("pass").stdout.splitlines()
    assert float(line.removeprefix("textgate worked seconds: ")) >= 0


def test_an_error_of_the_machine_ends_a_step_with_one_line_after_its_traceback() -> None:
    step = run_step("raise OSError(28, 'No space left on device', '/data/rows')")
    assert step.returncode == 6
    assert "textgate error 6: the disk of /data/rows is full" in step.stdout
    assert "Traceback" in step.stderr


def test_sigterm_ends_a_step_as_an_exception_so_that_temporary_files_are_removed() -> None:
    step = run_step(
        "import os, signal, tempfile\n    with tempfile.TemporaryDirectory() as folder:\n"
        "        print(folder, flush=True)\n        os.kill(os.getpid(), signal.SIGTERM)\n        signal.pause()"
    )
    assert step.returncode == 143
    assert not os.path.exists(step.stdout.splitlines()[0])
