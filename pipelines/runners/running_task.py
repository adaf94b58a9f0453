"""State of a step while it runs in one thread of a local run."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from textgate.components.contracts import InputError


@dataclass
class RunningTask:
    """A step that runs in one thread."""

    name: str
    iteration: str
    """Name of the loop's iteration, such as the combination of a sweep; empty outside a loop."""
    folder: Path
    """Folder of its artifacts below the folder of all runs."""
    started: float = field(default_factory=time.perf_counter)
    ran: bool = False
    """Whether a process was started; otherwise the outputs come from the cache."""
    work_seconds: float = 0.0
    error: InputError | None = None
    """InputError in the step."""
    last_line: str = ""
    """Last line of its output, which says why it failed if nothing else does."""

    @property
    def title(self) -> str:
        """Name for messages; in a loop with the iteration in parentheses."""
        return f"{self.name} ({self.iteration})" if self.iteration else self.name


class ThreadState(threading.local):
    """Task of the current thread, and what it has printed."""

    task: RunningTask | None = None
    in_process_output: bool = False
    """Whether printed lines come from the step's process rather than from kfp.local."""
    partial_line: str = ""
