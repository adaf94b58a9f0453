"""Log of a local run: the output and outcome of each step, and the upload of its artifacts to the store.

Loop iterations run at the same time, each in a thread of its own, so a printed line belongs to the step of the thread
that prints it.
"""

import contextlib
import io
import logging
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgate.components.contracts import Dataset, InputError, ProgressLine, redact, write_file
from textgate.components.contracts.data_account import account_lines
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.machine_errors import machine_error
from textgate.components.step import WARNING_PREFIX, WORK_PREFIX, parse_error
from textgate.components.storage import Store
from textgate.components.tracking.tracked_run import GROUP_VARIABLE, RUN_VARIABLE
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.kfp_local_patches import observed
from textgate.pipelines.runners.running_task import RunningTask, ThreadState
from textgate.pipelines.runners.step_containers import StepContainers
from textgate.pipelines.runners.step_processes import StepProcesses, killed_error
from textgate.pipelines.terminal import printable

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_DATASET_STEP = re.compile(r"(ingest|join-parts|preprocess|preprocess-parts)(-\d+)?")
"""Steps that write a complete dataset, whose rows are accounted for on the terminal."""
_PREPARED_BY = ("preprocess", "preprocess-parts", "select-with-dataset")
_ITERATION = re.compile(r"-iteration-(\d+)$")


class RunFailedError(Exception):
    """A step failed for a reason other than wrong input; the message names the step and the log file."""

    exit_code = 1


@dataclass(frozen=True)
class StepResult:
    """Outcome and duration of one step."""

    name: str
    """Name in the pipeline; in a loop followed by the iteration in parentheses."""
    outcome: str
    """done, cached, failed or interrupted."""
    seconds: float
    work_seconds: float
    """Part of ``seconds`` in which the step worked; the rest is overhead of the pipeline."""


class RunLog(io.TextIOBase):
    """Standard output and task observer while kfp.local runs one pipeline."""

    def __init__(
        self,
        runs: Path,
        store: Store,
        display: Display,
        loops: Mapping[str, Sequence[str]],
        environment: Mapping[str, str] | None = None,
        containers: StepContainers | None = None,
    ) -> None:
        """Create the log of a run that has not started.

        Args:
            runs: Folder of all runs in the workspace.
            store: Store that artifacts are uploaded to.
            display: Display of the steps' progress.
            loops: Names of the iterations of each step in a loop. Iterations of other steps are numbered parts.
            environment: Variables that the steps' processes get besides those of this process.
            containers: Containers of the steps, if they are no processes.
        """
        self._processes, self._containers = StepProcesses(environment or {}), containers
        self._runs, self._store, self._display, self._loops = runs, store, display, loops
        self._run = ""
        self._thread = ThreadState()
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._failed: list[RunningTask] = []
        self._interrupted: list[RunningTask] = []
        # One thread: artifacts are uploaded in the order of the steps while the next step runs.
        self._uploader = ThreadPoolExecutor(max_workers=1)
        self._uploads: list[Future[None]] = []
        self.steps: list[StepResult] = []
        self.outputs: dict[str, dict[str, Any]] = {}
        """Outputs of each step outside a loop."""

    @property
    def folder(self) -> Path:
        """Folder of this run's artifacts."""
        return self._runs / self._run

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Capture what kfp.local prints and logs while the body runs a pipeline."""
        root = logging.getLogger()
        level, handlers = root.level, root.handlers
        handler = logging.StreamHandler(self)
        handler.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
        with observed(self), contextlib.redirect_stdout(self), warnings.catch_warnings(action="ignore"):
            root.handlers = [handler]
            root.setLevel(logging.INFO)
            try:
                yield
            finally:
                root.handlers = handlers
                root.setLevel(level)

    def task_started(self, pipeline: str, name: str, folder: Path) -> bool:
        """See ``TaskObserver``; skip what is left of an interrupted run, and of a loop in which one has failed."""
        self._run = pipeline.split("/")[0]
        if self._processes.stopped:
            return False
        iteration = ""
        if match := _ITERATION.search(pipeline):
            index = int(match[1])
            iteration = self._loops[name][index] if name in self._loops else f"part {index}"
        if iteration and self._failed:
            return False
        self._thread.task = RunningTask(name, iteration, folder)
        return True

    @contextlib.contextmanager
    def process_output(self) -> Iterator[None]:
        """See ``TaskObserver``."""
        task = self._thread.task
        if task is not None:
            task.ran = self._thread.in_process_output = True
            with self._lock:
                self._display.step_started(task.title)
        try:
            yield
        finally:
            self._thread.in_process_output = False

    def run_process(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """See ``TaskObserver``."""
        folder = os.environ.get("WANDB_DIR") or str(self.folder)
        variables = {**self._tracking(folder), **(env_vars or {})}
        return self._exited(self._processes.run_process(full_command, variables))

    def run_container(self, command: list[str], variables: dict[str, str]) -> int:
        """See ``TaskObserver``; an error of the engine is one of the task."""
        assert self._containers is not None  # noqa: S101
        try:
            variables = {**variables, **self._tracking(str(self.folder))}
            return self._exited(self._containers.run(self._run, command, variables))
        except InputError as error:
            self._fail(error)
            return error.exit_code

    def _tracking(self, wandb_folder: str) -> dict[str, str]:
        """Return variables for the tracking of the current thread's task: the pipeline run, and W&B's folder."""
        task = self._thread.task
        several = task is not None and bool(task.iteration)
        return {GROUP_VARIABLE if several else RUN_VARIABLE: self._run, "WANDB_DIR": wandb_folder}

    def interrupt(self) -> None:
        """End the running steps; the run is over."""
        self._processes.stop()
        if self._containers is not None:
            self._containers.stop()

    def _exited(self, code: int) -> int:
        """Return the exit code of a task; if it was killed, so that it could not say why it failed, say so."""
        task = self._thread.task
        if task is not None and not self._processes.stopped and (error := killed_error(task.title, code)):
            self._fail(error)
        return code

    def _fail(self, error: InputError) -> None:
        """Record why the current thread's task failed, unless it has said so."""
        self.write(f"{error}\n")
        if (task := self._thread.task) is not None and task.error is None:
            task.error = error

    def task_ran(self) -> bool:
        """See ``TaskObserver``."""
        return self._thread.task is not None and self._thread.task.ran

    def cache_refused(self, reason: str) -> None:
        """See ``TaskObserver``."""
        message = f"it runs again, because {reason}"
        self.write(f"{message}\n")
        if (task := self._thread.task) is not None:
            with self._lock:
                self._display.step_warned(task.title, message)

    def task_ended(self, outputs: dict[str, Any], succeeded: bool) -> None:
        """See ``TaskObserver``."""
        task = self._thread.task
        if task is None:
            return
        self._thread.task = None
        seconds = time.perf_counter() - task.started
        interrupted = self._processes.stopped and not succeeded
        outcome = "interrupted" if interrupted else "failed" if not succeeded else "done" if task.ran else "cached"
        with self._lock:
            if interrupted:
                self._interrupted.append(task)
            elif not succeeded:
                self._failed.append(task)
            elif not task.iteration:
                self.outputs[task.name] = outputs
            self.steps.append(StepResult(task.title, outcome, seconds, task.work_seconds))
            if succeeded and _DATASET_STEP.fullmatch(task.name):
                self._report_dataset(task, Dataset.open(outputs["dataset"].uri).manifest)
            self._display.step_ended(task.title, outcome, seconds)
        if task.ran and not self._processes.stopped:
            folder, key = self._runs / task.folder, f"runs/{task.folder.as_posix()}"
            self._uploads.append(self._uploader.submit(self._upload, folder, key))

    def _upload(self, folder: Path, key: str) -> None:
        """Upload a folder unless an earlier upload failed, because each would wait for the store in turn."""
        if not any(upload.done() and upload.exception() for upload in self._uploads):
            self._store.upload_folder(folder, key)

    def _report_dataset(self, task: RunningTask, dataset: DatasetManifest) -> None:
        """Show the account of a dataset, and its warnings if no process of the step has printed them."""
        for line in account_lines(dataset):
            self._display.step_reported(task.title, line)
        if not task.ran and not dataset.normalizer:
            for warning in dataset.warnings:
                self._display.step_warned(task.title, warning)

    def dataset(self) -> DatasetManifest:
        """Return the manifest of the dataset that the run's models were trained on."""
        outputs = next(self.outputs[task] for task in _PREPARED_BY if task in self.outputs)
        return Dataset.open(outputs["dataset"].uri).manifest

    def write(self, text: str) -> int:
        """Log the complete lines that the current thread has printed."""
        *lines, self._thread.partial_line = (self._thread.partial_line + text).split("\n")
        with self._lock:
            for line in lines:
                self._add_line(redact(printable(_ANSI.sub("", line).rstrip())), self._thread.task)
        return len(text)

    def _add_line(self, line: str, task: RunningTask | None) -> None:
        from_process = task is not None and self._thread.in_process_output
        prefix = f"{task.iteration}: " if task is not None and task.iteration and line else ""
        self._lines.append(f"{prefix}{'    ' if from_process else ''}{line}")
        if task is None or not from_process:
            return
        text = line.strip()
        if progress := ProgressLine.parse(line):
            self._display.step_progress(task.title, progress.text)
        elif error := parse_error(text):
            task.error = error
        elif text.startswith(WORK_PREFIX):
            task.work_seconds = float(text.removeprefix(WORK_PREFIX))
        elif text.startswith(WARNING_PREFIX):
            self._display.step_warned(task.title, text.removeprefix(WARNING_PREFIX))
        elif text:
            task.last_line = text

    def failure(self, error: RuntimeError) -> Exception:
        """Return the exception to raise after kfp.local stopped with ``error``."""
        log = f"the log is in {self.folder / 'log.txt'}"
        if not self._failed:
            return RunFailedError(f"the pipeline failed ({error}); {log}")
        task = self._failed[0]
        if task.error is not None:
            return type(task.error)(f"{task.iteration}: {task.error}") if task.iteration else task.error
        if fault := machine_error(RuntimeError(task.last_line), [self._runs]):
            return type(fault)(f"step {task.title} failed: {fault}; {log}")
        message = f"step {task.title} failed" + (f": {task.last_line}" if task.last_line else "")
        return RunFailedError(f"{message}; {log}")

    def finish(self, *, succeeded: bool = True) -> None:
        """Write the log to the run's folder, wait for the uploads, and upload the log.

        Args:
            succeeded: Whether the run succeeded; otherwise a failed write or upload does not hide why the run failed.
                Of an interrupted run nothing is uploaded, and the artifacts of the interrupted steps are removed.
        """
        self._display.close()
        if self._run:
            with contextlib.nullcontext() if succeeded else contextlib.suppress(OSError):
                write_file(self.folder / "log.txt", "\n".join([*self._lines, self._thread.partial_line]) + "\n")
        self._uploader.shutdown(wait=not self._processes.stopped, cancel_futures=self._processes.stopped)
        if self._processes.stopped:
            for task in self._interrupted:
                shutil.rmtree(self._runs / task.folder, ignore_errors=True)
            return
        with contextlib.nullcontext() if succeeded else contextlib.suppress(InputError):
            for upload in self._uploads:
                upload.result()
            if (self.folder / "log.txt").exists():
                self._store.upload_file(self.folder / "log.txt", f"runs/{self._run}/log.txt")
