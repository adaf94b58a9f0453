"""Follow a pipeline while kfp.local runs it: what each step prints, how it ends, and its artifacts to the store.

The iterations of a loop run at once, each in a thread of its own, so a line belongs to the step of the thread that
prints it.
"""

import contextlib
import io
import logging
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, ProgressLine
from textgate.components.step import ERROR_PREFIX, WORK_PREFIX
from textgate.components.storage import Store
from textgate.pipelines.runners.display import Display

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ITERATION = re.compile(r"-iteration-(\d+)$")


class RunFailedError(Exception):
    """A step failed for a reason that is not the caller's; the message says which step and where its log lies."""


@dataclass(frozen=True)
class StepResult:
    """What became of one step."""

    name: str
    """As in the pipeline; in a sweep's loop followed by the combination."""
    outcome: str
    """done, cached or failed."""
    seconds: float
    work_seconds: float
    """Of ``seconds``, what the step itself worked; the rest is the pipeline's."""


@dataclass
class _Task:
    """The step that one thread is at."""

    name: str
    combination: str
    """Of the sweep in whose loop it stands, or what else that loop is about; otherwise empty."""
    folder: Path
    """Its artifacts, below the folder of all runs."""
    started: float = field(default_factory=time.perf_counter)
    ran: bool = False
    """A process was started for it; without one its outputs come from the cache."""
    work_seconds: float = 0.0
    sentence: str | None = None
    """What it says was wrong with what it was given."""
    last_words: str = ""

    @property
    def title(self) -> str:
        return f"{self.name} ({self.combination})" if self.combination else self.name


class _Thread(threading.local):
    """What the present thread is at."""

    task: _Task | None = None
    speaks: bool = False
    """What it prints comes from the step's process, not from kfp.local."""
    pending: str = ""
    """A line it has only begun to print."""


class RunLog(io.TextIOBase):
    """Stands in for standard output while kfp.local runs one pipeline."""

    def __init__(self, runs: Path, store: Store, display: Display, loops: Mapping[str, Sequence[str]]) -> None:
        """``loops`` names the iterations of each step that a loop repeats; those over a source's parts have numbers."""
        self._runs, self._store, self._display, self._loops = runs, store, display, loops
        self._run = ""
        self._here = _Thread()
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._failed: list[_Task] = []
        # One thread: artifacts reach the store in the order of the steps, while the next step works.
        self._uploads = ThreadPoolExecutor(max_workers=1)
        self._uploading: list[Future[None]] = []
        self.steps: list[StepResult] = []
        self.outputs: dict[str, dict[str, Any]] = {}
        """What each step outside a loop handed on."""

    @property
    def folder(self) -> Path:
        """Where kfp.local keeps this run's artifacts."""
        return self._runs / self._run

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Read what kfp.local prints and logs while the body runs.

        kfp.local names the iteration of a step in no line, and exchanges the process's print and log handlers around
        each step, which two threads undo for one another. So three of its functions are replaced meanwhile.
        """
        from kfp.local import logging_utils, status
        from kfp.local.orchestrator import task_executor

        execute = task_executor.execute_single_task

        def followed(**call: Any) -> Any:
            task = self._task(call["pipeline_resource_name"], call["task_name"], call["task_spec"].component_ref.name)
            outputs: dict[str, Any] = {}
            state = status.Status.FAILURE
            if task.combination and self._failed:
                return outputs, state  # this sweep will not be chosen from: nothing more is trained for it
            self._here.task = task
            call["task_spec"].ClearField("retry_policy")  # here, a person sees at once what failed
            try:
                # What the pipeline calls its run is its folder's name here, where a cluster gives it a number.
                outputs, state = execute(**{**call, "unique_pipeline_id": self._run})
                # A step's last act. To kfp.local a container that went before it was asked how it ended, ended well.
                if task.ran and not (self._runs / task.folder / "executor_output.json").exists():
                    outputs, state = {}, status.Status.FAILURE
            finally:
                self._end(task, outputs, state == status.Status.SUCCESS)
            return outputs, state

        root = logging.getLogger()
        level = root.level
        handler = logging.StreamHandler(self)
        handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
        with (
            contextlib.redirect_stdout(self),
            warnings.catch_warnings(action="ignore"),
            _replaced(task_executor, "execute_single_task", followed),
            _replaced(logging_utils, "indented_print", self._step_speaks),
            _replaced(logging_utils, "local_logger_context", contextlib.nullcontext),
            _replaced(root, "handlers", [handler]),
        ):
            root.setLevel(logging.INFO)
            try:
                yield
            finally:
                root.setLevel(level)

    def _task(self, place: str, name: str, component: str) -> _Task:
        """``place`` is the run's name, in a loop followed by the iteration's."""
        self._run = place.split("/")[0]
        iteration = _ITERATION.search(place)
        combination = ""
        if iteration:
            number = int(iteration[1])
            combination = self._loops[name][number] if name in self._loops else f"part {number}"
        return _Task(name, combination, Path(place) / component.removeprefix("comp-"))

    @contextlib.contextmanager
    def _step_speaks(self) -> Iterator[None]:
        task = self._here.task
        if task is not None:
            task.ran = self._here.speaks = True
            with self._lock:
                self._display.step_started(task.title)
        try:
            yield
        finally:
            self._here.speaks = False

    def write(self, text: str) -> int:
        """Read what the present thread prints, a whole line at a time."""
        *lines, self._here.pending = (self._here.pending + text).split("\n")
        with self._lock:
            for line in lines:
                self._read(_ANSI.sub("", line).rstrip(), self._here.task)
        return len(text)

    def _read(self, line: str, task: _Task | None) -> None:
        speaks = task is not None and self._here.speaks
        whose = f"{task.combination}: " if task is not None and task.combination and line else ""
        self._lines.append(f"{whose}{'    ' if speaks else ''}{line}")
        if task is None or not speaks:
            return
        said = line.strip()
        if progress := ProgressLine.parse(line):
            self._display.step_progress(task.title, progress.text)
        elif said.startswith(ERROR_PREFIX):
            task.sentence = said.removeprefix(ERROR_PREFIX)
        elif said.startswith(WORK_PREFIX):
            task.work_seconds = float(said.removeprefix(WORK_PREFIX))
        elif said:
            task.last_words = said

    def _end(self, task: _Task, outputs: dict[str, Any], succeeded: bool) -> None:
        self._here.task = None
        seconds = time.perf_counter() - task.started
        outcome = "failed" if not succeeded else "done" if task.ran else "cached"
        with self._lock:
            if not succeeded:
                self._failed.append(task)
            elif not task.combination:
                self.outputs[task.name] = outputs
            self.steps.append(StepResult(task.title, outcome, seconds, task.work_seconds))
            self._display.step_ended(task.title, outcome, seconds)
        if task.ran:
            folder, key = self._runs / task.folder, f"runs/{task.folder.as_posix()}"
            self._uploading.append(self._uploads.submit(self._store.upload_folder, folder, key))

    def failure(self, error: RuntimeError) -> Exception:
        """What to tell the person after kfp.local gave up."""
        if not self._failed:
            where = f"the pipeline failed ({error})"
        else:
            task = self._failed[0]
            if task.sentence is not None:
                return InputError(f"{task.combination}: {task.sentence}" if task.combination else task.sentence)
            where = f"step {task.title} failed" + (f": {task.last_words}" if task.last_words else "")
        return RunFailedError(f"{where}; the whole log is in {self.folder / 'log.txt'}")

    def finish(self) -> None:
        """Keep the log beside the artifacts, here and in the store, once every artifact has reached it."""
        self._uploads.shutdown()
        for upload in self._uploading:
            upload.result()
        if self._run:
            path = self.folder / "log.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join([*self._lines, self._here.pending]) + "\n", "utf-8")
            self._store.upload_file(path, f"runs/{self._run}/log.txt")


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
