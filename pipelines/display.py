"""What a person sees of a run: a live line on a terminal, plain lines elsewhere, a short table at the end."""

import time
from typing import TextIO

from rich.console import Console
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
        self._last_line = 0.0

    def step_started(self, step: str) -> None:
        """A step begins to work."""
        if self._console.is_terminal:
            # Standard output belongs to whoever reads what kfp.local prints; a live line must not take it over.
            self._live = Live(
                Spinner("dots", Text(step)),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._console.print(f"{step}: started", markup=False)
        self._last_line = time.monotonic()

    def step_says(self, step: str, text: str) -> None:
        """A step says how far it is."""
        if self._live is not None:
            self._live.update(Spinner("dots", Text(f"{step}: {text}")))
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_PLAIN_LINES:
            self._console.print(f"{step}: {text}", markup=False)
            self._last_line = time.monotonic()

    def step_ended(self, step: str, outcome: str, seconds: float) -> None:
        """A step ended: ``outcome`` is done, cached or failed."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        took = "" if outcome == "cached" else f" in {duration(seconds)}"
        self._console.print(f"{step}: {outcome}{took}", markup=False)
