"""Run a recipe's pipeline on a cluster, and follow it to what the gates decided."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, Recipe, RunRecord, bundle_references, file_sha256
from textgate.components.image import Images
from textgate.components.sources import content_version, is_path
from textgate.components.step import ERROR_PREFIX, WORK_PREFIX
from textgate.components.storage import Store
from textgate.components.storage.runs import load_record
from textgate.pipelines.pods import EXECUTOR_TEMPLATE
from textgate.pipelines.runners.cluster import Cluster, UnavailableError
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.run_log import RunFailedError, StepResult
from textgate.pipelines.sweep import Combination
from textgate.pipelines.training import compile_pipeline

RUN_ID_PLACEHOLDER = "[[RunUUID]]"
"""KFP puts the run's identifier in its place, so that every run of a schedule reads the source anew."""
_VERSION_CHARACTERS = 12
_ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
_LAST_LINES = 10
_PATIENCE_SECONDS = 300.0
"""For an API server that does not answer while a run is followed."""


@dataclass(frozen=True)
class UploadedPipeline:
    """A recipe's pipeline on the cluster."""

    pipeline: str
    version: str
    version_name: str
    steps: frozenset[str]
    """Names of the tasks that do work, which tells them from the graphs they stand in."""

    @property
    def reference(self) -> tuple[str, str]:
        """Identifiers of pipeline and version."""
        return self.pipeline, self.version


@dataclass(frozen=True)
class ClusterRun:
    """A run that completed on the cluster, whatever its gates decided."""

    record: RunRecord
    steps: list[StepResult]
    seconds: float


def upload(cluster: Cluster, recipe: Recipe, images: Images, sweep: Sequence[Combination] = ()) -> UploadedPipeline:
    """Compile the pipeline of the recipe, or of a sweep over it, and bring it to the cluster.

    Its version is named by its content, so that a pipeline that has not changed is not uploaded again.

    Raises:
        InputError: the source, or a finished system that the recipe builds on, lies on this machine, where no step of a
            cluster finds it, or see ``Cluster``.
    """
    if "://" not in recipe.source.uri or recipe.source.uri.startswith("file://"):
        raise InputError(
            f"the source {recipe.source.uri} lies on this machine, where the steps of a cluster do not find it: put it "
            "into the store and give --source s3://bucket/key"
        )
    for reference in bundle_references(recipe.train):
        if is_path(reference) and "://" not in reference:
            raise InputError(
                f"the finished system {reference} lies on this machine, where the steps of a cluster do not find it: "
                "put it into the store and name it s3://bucket/folder/, or name a model of the registry"
            )
    cluster.check()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{recipe.name}.yaml"
        steps = compile_pipeline(recipe, file, images, sweep)
        name = file_sha256(file)[:_VERSION_CHARACTERS]
        pipeline, uploaded = cluster.upload(recipe.name, recipe.description, name, file)
    return UploadedPipeline(pipeline, uploaded, name, steps)


def start(
    cluster: Cluster, recipe: Recipe, uploaded: UploadedPipeline, bucket: str, experiment: str | None, name: str | None
) -> str:
    """Start a run; returns its identifier.

    Raises:
        InputError: the source cannot be asked for its version, or see ``Cluster``.
    """
    parameters = {"bucket": bucket, "source_version": content_version(recipe.source.uri)}
    name = name or f"{recipe.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return cluster.start(name, cluster.experiment(experiment or recipe.model), uploaded.reference, parameters)


def follow(
    cluster: Cluster, run: str, steps: frozenset[str], store: Store, display: Display, poll_seconds: float
) -> ClusterRun:
    """Show a run's steps until it has ended.

    Raises:
        RunFailedError: it failed or was stopped; the step is named, with the last lines it printed.
        InputError: a step says what it was given is wrong, or the run left no record in the store.
        UnavailableError: the API server did not answer for minutes.
    """
    started = time.monotonic()
    progress = _Progress(steps, display)
    for found in _looks(cluster, run, poll_seconds):
        progress.see(found)
        if found.state in _ENDED:
            break
    if found.state != "SUCCEEDED" or progress.failed:
        raise _failure(cluster, found, progress.failed)
    return ClusterRun(load_record(store, run), progress.ended, time.monotonic() - started)


def _looks(cluster: Cluster, run: str, poll_seconds: float) -> Iterator[Any]:
    """The run, again and again; what comes and goes between here and the cluster does not end the watch."""
    answered = time.monotonic()
    while True:
        try:
            found = cluster.run(run)
        except UnavailableError:
            if time.monotonic() - answered > _PATIENCE_SECONDS:
                raise
        else:
            answered = time.monotonic()
            yield found
        time.sleep(poll_seconds)


class _Progress:
    """What has been shown of a run's steps."""

    def __init__(self, steps: frozenset[str], display: Display) -> None:
        self.ended: list[StepResult] = []
        self.failed: list[Any] = []
        """Tasks that failed, in the order of their ends."""
        self._steps, self._display = steps, display
        self._titles: dict[str, str] = {}
        """Of each task that was seen at work or after it, by its identifier."""
        self._done: set[str] = set()

    def see(self, run: Any) -> None:
        """Show what has changed."""
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
        # A step whose driver failed never began to work.
        self.failed = sorted((task for task in _tasks(run) if _failed_step(task) in self._steps), key=_end)

    def _title(self, step: str) -> str:
        again = sum(title == step or title.startswith(f"{step} (") for title in self._titles.values())
        return f"{step} ({again + 1})" if again else step


def _failure(cluster: Cluster, run: Any, failed: list[Any]) -> Exception:
    where = f"the run is at {cluster.page(run.run_id)}"
    if not failed:
        said = f": {run.error.message}" if run.error and run.error.message else ""
        return RunFailedError(f"the run ended {run.state}{said}; {where}")
    step = _failed_step(failed[0])
    lines = _log(cluster, run, failed[0])
    for line in lines:
        if line.startswith(ERROR_PREFIX):
            return InputError(f"step {step}: {line.removeprefix(ERROR_PREFIX)}; {where}")
    if not lines:
        return RunFailedError(f"step {step} failed, and the cluster gives no log of it; {where}")
    last = (f"    {line}" for line in lines[-_LAST_LINES:])
    return RunFailedError("\n".join([f"step {step} failed; {where}; its last lines:", *last]))


def _log(cluster: Cluster, run: Any, task: Any) -> list[str]:
    """What the task's last try printed."""
    for pod in _pods(run, task):
        lines = [line.rstrip() for line in cluster.log(run.run_id, pod).splitlines()]
        if said := [line for line in lines if line and not line.startswith(WORK_PREFIX)]:
            return said
    return []


def _pods(run: Any, task: Any) -> list[str]:
    """Names that the pod of the task's last try may have.

    KFP 2.17 fills in neither ``pod_name`` nor ``executor_detail`` (kubeflow/pipelines issue 14007), only the nodes of
    Argo's graph that stand below one another: a task has a node ``executor``, and that one a node for every try. Argo
    names a pod <workflow>-<template>-<number>, and its node <workflow>-<number>.
    """
    tries = [other for other in _tasks(run) if other.display_name == "executor" and other.state == "FAILED"]
    names = [task.pod_name] if task.pod_name else []
    for node in [*sorted(tries, key=_end)[:1], task]:
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
