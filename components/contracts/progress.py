"""How a step says how far it is: one plain line, readable in a pod's log and parsed by the local runner."""

import re
import sys
import time
from dataclasses import dataclass, field

_LINE = re.compile(r"^\s*progress (?P<done>\d+)/(?P<total>\d+) (?P<text>.*)$")
_SECONDS_BETWEEN_LINES = 1.0


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8.3s``, ``2m05s``, ``1h02m``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


@dataclass
class Progress:
    """Prints at most one line a second: items done, rate, time left and whatever else the step knows.

    ``total`` may be 0 when nobody knows how much there is; then no time left is given.
    """

    total: int
    unit: str = "rows"
    started: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` items are finished; ``note`` is put first, such as ``epoch 1 of 2``."""
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
    """One parsed line."""

    done: int
    total: int
    text: str

    @classmethod
    def parse(cls, line: str) -> "ProgressLine | None":
        """The progress in ``line``, or None when the line is something else."""
        match = _LINE.match(line)
        return cls(int(match["done"]), int(match["total"]), match["text"].rstrip()) if match else None
