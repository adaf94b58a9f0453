"""Progress of a run: a live line per running step on a terminal, otherwise plain lines."""

import time
from typing import TextIO

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from textgate.components.contracts import duration
from textgate.pipelines.interrupts import deferred_signals
from textgate.pipelines.terminal import Console

_SECONDS_BETWEEN_PLAIN_LINES = 5.0


class Display:
    """Progress display of one run on a text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, soft_wrap=True)
        self._live: Live | None = None
        self._running: dict[str, str] = {}
        """Line of each running step."""
        self._last_lines: dict[str, float] = {}

    def step_started(self, step: str) -> None:
        """Show that a step runs."""
        self._running[step] = step
        if self._console.is_terminal:
            self._show_running()
        else:
            self._console.print(f"{step}: started", markup=False)
        self._last_lines[step] = time.monotonic()

    def step_progress(self, step: str, text: str) -> None:
        """Show the progress of a step; outside a terminal at most every five seconds."""
        if self._console.is_terminal:
            self._running[step] = f"{step}: {text}"
            self._show_running()
        elif time.monotonic() - self._last_lines[step] >= _SECONDS_BETWEEN_PLAIN_LINES:
            self._console.print(f"{step}: {text}", markup=False)
            self._last_lines[step] = time.monotonic()

    def step_warned(self, step: str, text: str) -> None:
        """Show a warning of a step."""
        self._console.print(f"{step}: warning: {text}", markup=False)

    def step_reported(self, step: str, text: str) -> None:
        """Show a line of a step's result."""
        self._console.print(f"{step}: {text}", markup=False)

    def step_ended(self, step: str, outcome: str, seconds: float) -> None:
        """Show that a step ended with the outcome done, cached or failed."""
        self._running.pop(step, None)
        self._show_running()
        took = "" if outcome == "cached" else f" in {duration(seconds)}"
        self._console.print(f"{step}: {outcome}{took}", markup=False)

    def close(self) -> None:
        """Remove the live lines and show the cursor again."""
        self._running.clear()
        self._show_running()

    def _show_running(self) -> None:
        """Update the live lines; an interruption halfway would leave a display that cannot be stopped."""
        with deferred_signals():
            self._update_live()

    def _update_live(self) -> None:
        if not self._running:
            if self._live is not None:
                self._live.stop()
                self._live = None
            return
        shown = Group(*[Spinner("dots", Text(line)) for line in self._running.values()])
        if self._live is not None:
            self._live.update(shown, refresh=True)
        else:
            # RunLog replaces standard output to read what kfp.local prints; the live lines must not redirect it.
            self._live = Live(
                shown, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
