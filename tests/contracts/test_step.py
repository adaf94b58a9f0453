"""step_work: a message instead of a traceback for an InputError, and the seconds of work."""

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
