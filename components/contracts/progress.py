"""Progress lines of a step: plain text, readable in a pod's log and parsed by the local runner."""

import re
import sys
import time
from dataclasses import dataclass, field

_LINE = re.compile(r"^\s*progress (?P<done>\d+)/(?P<total>\d+) (?P<text>.*)$")
_SECONDS_BETWEEN_LINES = 1.0


def duration(seconds: float) -> str:
    """Format seconds as ``8.3s``, ``2m05s`` or ``1h02m``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


@dataclass
class Progress:
    """Progress printer: at most one line per second with items done, rate and time left."""

    total: int
    """Number of items, or 0 if it is not known; then no time left is printed."""
    unit: str = "rows"
    """Plural noun for the items."""
    started: float = field(default_factory=time.monotonic)
    """Start time on the monotonic clock, in seconds."""
    _printed: float = field(default_factory=time.monotonic)

    def update(self, done: int, note: str = "") -> None:
        """Print that ``done`` of ``total`` items are finished, after a ``note`` such as ``epoch 1 of 2``."""
        now = time.monotonic()
        if now - self._printed < _SECONDS_BETWEEN_LINES and done != self.total:
            return
        self._printed = now
        rate = done / max(now - self.started, 1e-9)
        parts = [note] if note else []
        parts.append(f"{done:,} of {self.total:,} {self.unit}" if self.total else f"{done:,} {self.unit}")
        parts.append(f"{rate:,.0f} {self.unit}/s")
        if self.total and 0 < done < self.total:
            parts.append(f"{duration((self.total - done) / rate)} left")
        print(f"progress {done}/{self.total} {', '.join(parts)}", file=sys.stdout, flush=True)


@dataclass(frozen=True)
class ProgressLine:
    """Parsed progress line."""

    done: int
    """Number of finished items."""
    total: int
    """Number of items, or 0 if it is not known."""
    text: str
    """Text for the user."""

    @classmethod
    def parse(cls, line: str) -> "ProgressLine | None":
        """Return the progress in ``line``, or None if it is not a progress line."""
        match = _LINE.match(line)
        return cls(int(match["done"]), int(match["total"]), match["text"].rstrip()) if match else None
