"""What a person sees of a run: a live line on a terminal, plain lines elsewhere."""

import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from textgate.components.contracts import duration

_SECONDS_BETWEEN_PLAIN_LINES = 5.0


class Display:
    """Follows one run on ``stream``."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._working: dict[str, str] = {}
        """What is shown of each step that works now."""
        self._last_lines: dict[str, float] = {}

    def step_started(self, step: str) -> None:
        """A step begins to work."""
        self._working[step] = step
        if self._console.is_terminal:
            self._show_working()
        else:
            self._console.print(f"{step}: started", markup=False)
        self._last_lines[step] = time.monotonic()

    def step_progress(self, step: str, text: str) -> None:
        """A step says how far it is."""
        if self._console.is_terminal:
            self._working[step] = f"{step}: {text}"
            self._show_working()
        elif time.monotonic() - self._last_lines[step] >= _SECONDS_BETWEEN_PLAIN_LINES:
            self._console.print(f"{step}: {text}", markup=False)
            self._last_lines[step] = time.monotonic()

    def step_ended(self, step: str, outcome: str, seconds: float) -> None:
        """A step ended: ``outcome`` is done, cached or failed."""
        self._working.pop(step, None)
        self._show_working()
        took = "" if outcome == "cached" else f" in {duration(seconds)}"
        self._console.print(f"{step}: {outcome}{took}", markup=False)

    def _show_working(self) -> None:
        """A live line for each step that works."""
        if not self._working:
            if self._live is not None:
                self._live.stop()
                self._live = None
            return
        shown = Group(*[Spinner("dots", Text(line)) for line in self._working.values()])
        if self._live is not None:
            self._live.update(shown, refresh=True)
        else:
            # Standard output belongs to whoever reads what kfp.local prints; a live line must not take it over.
            self._live = Live(
                shown, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
