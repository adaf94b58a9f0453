"""The frame around a step's work: progress lines, sentences in place of tracebacks, folders whole or absent."""

import subprocess
import sys
from pathlib import Path

import pytest

from textgate.components.contracts import ProgressLine, duration, new_folder

STEP = """
from textgate.components.contracts import InputError, Progress
from textgate.components.step import step_work
with step_work():
    progress = Progress(total=3)
    progress.update(3, "epoch 1 of 1, loss 0.5")
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


def test_progress_is_readable_and_parsed_back() -> None:
    (line,) = [line for line in run_step("pass").stdout.splitlines() if line.startswith("progress")]
    parsed = ProgressLine.parse(f"    {line}\n")
    assert parsed is not None
    assert (parsed.done, parsed.total) == (3, 3)
    assert parsed.text.startswith("epoch 1 of 1, loss 0.5, 3 of 3 rows, ")
    assert ProgressLine.parse("making progress 1/2") is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0s"), (59.94, "59.9s"), (61, "1m01s"), (3599.4, "59m59s"), (7260, "2h01m")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_folder(tmp_path / "made") as folder:
        (folder / "half").write_text("x")
        assert not (tmp_path / "made").exists()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "made") as folder:
        (folder / "whole").write_text("x")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["whole"]
    with pytest.raises(FileExistsError), new_folder(tmp_path / "made"):
        pass
