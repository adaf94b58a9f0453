"""Progress lines: their text, and that the local runner parses them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Progress, ProgressLine, duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.96, "1m00s"), (119.6, "2m00s"), (3599.6, "1h00m"), (90_000, "25h00m")]
)
def test_a_duration_never_shows_sixty_seconds_or_minutes(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@settings(deadline=None)
@given(seconds=st.floats(0, 1e6))
def test_a_duration_is_accurate_to_its_last_digit(seconds: float) -> None:
    text = duration(seconds)
    if "h" in text:
        hours, minutes = text[:-1].split("h")
        assert abs(int(hours) * 3600 + int(minutes) * 60 - seconds) <= 60.5
        assert int(minutes) < 60
    elif "m" in text:
        minutes, rest = text[:-1].split("m")
        assert abs(int(minutes) * 60 + int(rest) - seconds) <= 0.5
        assert int(rest) < 60
    else:
        assert abs(float(text[:-1]) - seconds) <= 0.0501
        assert float(text[:-1]) < 60


def test_the_last_item_is_always_printed_and_the_ones_just_before_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    # No other line is due, but the last item is printed.
    progress = Progress(total=3, unit="steps", _printed=float("inf"))
    for done in (1, 2, 3):
        progress.update(done)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("progress 3/3 3 of 3 steps, ")
    assert "left" not in line


def test_a_line_has_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(total=4_000, _printed=float("-inf"))
    progress.started -= 1_000_000
    progress.update(1_000, "epoch 1 of 2")
    line = capsys.readouterr().out
    text = "epoch 1 of 2, 1,000 of 4,000 rows, 0 rows/s, 833h20m left"
    assert line == f"progress 1000/4000 {text}\n"
    assert ProgressLine.parse(line) == ProgressLine(1_000, 4_000, text)


def test_without_a_total_there_is_no_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(total=0, _printed=float("-inf")).update(1_500)
    line = capsys.readouterr().out
    assert line.startswith("progress 1500/0 1,500 rows, ")
    assert "left" not in line


@settings(deadline=None)
@given(
    done=st.integers(0, 10**9),
    total=st.integers(0, 10**9),
    text=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"])),
)
def test_any_progress_line_is_parsed(done: int, total: int, text: str) -> None:
    assert ProgressLine.parse(f"  progress {done}/{total} {text}\n") == ProgressLine(done, total, text.rstrip())


@pytest.mark.parametrize(
    "line", ["", "progress", "progress 1/ x", "progress a/b x", "no progress 1/2 x", "progress -1/2 x"]
)
def test_other_lines_are_not_progress(line: str) -> None:
    assert ProgressLine.parse(line) is None
