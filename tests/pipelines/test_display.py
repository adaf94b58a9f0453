"""Display of steps that run at the same time."""

import io

from textgate.pipelines.runners.display import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_every_running_step_has_a_line() -> None:
    terminal = Terminal()
    display = Display(terminal)
    for number in (1, 2, 3):
        display.step_started(f"train (C={number})")
    display.step_progress("train (C=2)", "epoch 1 of 2")
    before = len(terminal.getvalue())
    display.step_ended("train (C=1)", "done", 1.0)
    shown = terminal.getvalue()[before:]
    after = shown[shown.index("train (C=1): done in 1.0s") :]
    assert "train (C=2): epoch 1 of 2" in after
    assert "train (C=3)" in after
    assert "train (C=1)" not in after.removeprefix("train (C=1)")

    for number in (2, 3):
        display.step_ended(f"train (C={number})", "done", 1.0)
    before = len(terminal.getvalue())
    display.step_ended("select", "cached", 0.0)
    assert terminal.getvalue()[before:] == "select: cached\n"


def test_without_a_terminal_events_are_printed_as_lines() -> None:
    stream = io.StringIO()
    display = Display(stream)
    display.step_started("train (C=1)")
    display.step_started("train (C=2)")
    display.step_progress("train (C=1)", "too soon after the last line")
    display.step_warned("train (C=1)", "about a label")
    display.step_ended("train (C=2)", "failed", 61.0)
    assert stream.getvalue().splitlines() == [
        "train (C=1): started",
        "train (C=2): started",
        "train (C=1): warning: about a label",
        "train (C=2): failed in 1m01s",
    ]
