"""Follow a run on a cluster: show the progress of its steps, and report a failure with the last log lines."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from textgate.components.contracts import RunRecord
from textgate.components.step import WORK_PREFIX, parse_error
from textgate.components.storage import Store
from textgate.components.storage.runs import load_record
from textgate.pipelines.pods import EXECUTOR_TEMPLATE
from textgate.pipelines.runners.cluster import Cluster, UnavailableError
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.run_log import RunFailedError, StepResult

_ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
_LAST_LINES = 10
_PATIENCE_SECONDS = 300.0
"""Time without an answer of the API server after which following a run fails."""


@dataclass(frozen=True)
class ClusterRun:
    """A completed run on the cluster, whether or not its gates passed."""

    record: RunRecord
    steps: list[StepResult]
    seconds: float


def follow(
    cluster: Cluster, run: str, steps: frozenset[str], store: Store, display: Display, poll_seconds: float
) -> ClusterRun:
    """Show the progress of a run until it ends.

    Args:
        cluster: API server.
        run: Id of the run.
        steps: See ``UploadedPipeline.steps``.
        store: Store that the run's record is read from.
        display: Display of the steps' progress.
        poll_seconds: Interval of the requests.

    Raises:
        RunFailedError: The run failed or was stopped. The message names the step and shows its last lines.
        InputError: A step reports that its input is wrong, or the store has no record of the run.
        UnavailableError: The API server did not answer for five minutes.
    """
    started = time.monotonic()
    progress = _Progress(steps, display)
    try:
        for snapshot in _poll(cluster, run, poll_seconds):
            progress.update(snapshot)
            if snapshot.state in _ENDED:
                break
    finally:
        display.close()
    if snapshot.state != "SUCCEEDED" or progress.failed:
        raise _failure(cluster, snapshot, progress.failed)
    return ClusterRun(load_record(store, run), progress.ended, time.monotonic() - started)


def _poll(cluster: Cluster, run: str, poll_seconds: float) -> Iterator[Any]:
    """Yield the current state of the run again and again; tolerate a server that is unavailable for a while."""
    answered = time.monotonic()
    while True:
        try:
            snapshot = cluster.run(run)
        except UnavailableError:
            if time.monotonic() - answered > _PATIENCE_SECONDS:
                raise
        else:
            answered = time.monotonic()
            yield snapshot
        time.sleep(poll_seconds)


class _Progress:
    """State of a run's steps as shown on the display."""

    def __init__(self, steps: frozenset[str], display: Display) -> None:
        self.ended: list[StepResult] = []
        self.failed: list[Any] = []
        """Tasks that failed, sorted by their end."""
        self._steps, self._display = steps, display
        self._titles: dict[str, str] = {}
        """Title of each started task, by the id of the task."""
        self._done: set[str] = set()

    def update(self, run: Any) -> None:
        """Show the changes since the last call."""
        tasks = [task for task in _tasks(run) if task.display_name in self._steps]
        for task in sorted(tasks, key=_start):
            if task.state in ("RUNNING", "SUCCEEDED", "FAILED") and task.task_id not in self._titles:
                self._titles[task.task_id] = self._title(task.display_name)
                self._display.step_started(self._titles[task.task_id])
        for task in sorted(tasks, key=_end):
            if task.state in ("SUCCEEDED", "FAILED") and task.task_id not in self._done:
                self._done.add(task.task_id)
                seconds = max(0.0, _end(task) - _start(task))
                outcome = "done" if task.state == "SUCCEEDED" else "failed"
                self.ended.append(StepResult(self._titles[task.task_id], outcome, seconds, seconds))
                self._display.step_ended(self._titles[task.task_id], outcome, seconds)
        # If the driver of a step failed, the step itself has no task.
        self.failed = sorted((task for task in _tasks(run) if _failed_step(task) in self._steps), key=_end)

    def _title(self, step: str) -> str:
        earlier = sum(title == step or title.startswith(f"{step} (") for title in self._titles.values())
        return f"{step} ({earlier + 1})" if earlier else step


def _failure(cluster: Cluster, run: Any, failed: list[Any]) -> Exception:
    page = f"the run is at {cluster.page(run.run_id)}"
    if not failed:
        message = f": {run.error.message}" if run.error and run.error.message else ""
        return RunFailedError(f"the run ended {run.state}{message}; {page}")
    step = _failed_step(failed[0])
    lines = _log(cluster, run, failed[0])
    for line in lines:
        if error := parse_error(line):
            return type(error)(f"step {step}: {error}; {page}")
    if not lines:
        return RunFailedError(f"step {step} failed, and the cluster gives no log of it; {page}")
    last = (f"    {line}" for line in lines[-_LAST_LINES:])
    return RunFailedError("\n".join([f"step {step} failed; {page}; its last lines:", *last]))


def _log(cluster: Cluster, run: Any, task: Any) -> list[str]:
    """Return the log lines of the task's last attempt."""
    for pod in _pods(run, task):
        lines = [line.rstrip() for line in cluster.log(run.run_id, pod).splitlines()]
        if kept := [line for line in lines if line and not line.startswith(WORK_PREFIX)]:
            return kept
    return []


def _pods(run: Any, task: Any) -> list[str]:
    """Return possible names of the pod of the task's last attempt.

    KFP 2.17 sets neither ``pod_name`` nor ``executor_detail`` (kubeflow/pipelines issue 14007), only the child nodes in
    Argo's graph: a task has a node ``executor``, which has a node per attempt. The name of a pod is
    <workflow>-<template>-<number>, that of its node <workflow>-<number>.
    """
    attempts = [other for other in _tasks(run) if other.display_name == "executor" and other.state == "FAILED"]
    names = [task.pod_name] if task.pod_name else []
    for node in [*sorted(attempts, key=_end)[:1], task]:
        for child in reversed(node.child_tasks or []):
            workflow, _, number = (child.pod_name or "").rpartition("-")
            if workflow:
                names += [f"{workflow}-{EXECUTOR_TEMPLATE}-{number}", child.pod_name]
    return names


def _tasks(run: Any) -> list[Any]:
    return list(run.run_details.task_details or []) if run.run_details else []


def _failed_step(task: Any) -> str | None:
    return str(task.display_name).removesuffix("-driver") if task.state == "FAILED" else None


def _start(task: Any) -> float:
    return float(task.start_time.timestamp()) if task.start_time else 0.0


def _end(task: Any) -> float:
    return float(task.end_time.timestamp()) if task.end_time else 0.0
