"""Run a pipeline on this machine through ``kfp.local``, its steps as processes or in containers.

Files in the workspace:

    <workspace>/pipelines/<recipe>.yaml                compiled pipeline; compare-<model>.yaml for a comparison
    <workspace>/runs/<run>/<task>/<artifact>           also in the store under runs/<run>/
    <workspace>/runs/<run>/<loop>-iteration-<n>/…      the same for each iteration of a loop
    <workspace>/runs/<run>/log.txt, report.html, sweep.json, comparison.html, comparison.json
    <workspace>/cache/…                                cache index of kfp.local, one folder per store
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from textgate.components.contracts import Candidate, Candidates, ConflictError, Recipe, RunRecord, write_file
from textgate.components.contracts.comparison import Comparison, CostLimits
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.image import IMAGE, Images
from textgate.components.machine_errors import machine_errors
from textgate.components.sources import source_version
from textgate.components.storage import Store
from textgate.components.storage.runs import load_record
from textgate.components.tracking.services import check_clients
from textgate.pipelines.container_engine import local_image, pull_image
from textgate.pipelines.garbage.workspace_garbage import GC_LOCK
from textgate.pipelines.interrupts import raised_signals
from textgate.pipelines.recipes import with_feedback_of
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.docker_runner import copy_source, docker_runner
from textgate.pipelines.runners.run_log import RunFailedError, RunLog, StepResult
from textgate.pipelines.runners.scratch import scratch_folder
from textgate.pipelines.runners.step_containers import StepContainers, remove_abandoned
from textgate.pipelines.sweep import Combination, describe

__all__ = ["LocalComparison", "LocalRun", "LocalSettings", "RunFailedError", "run_comparison", "run_pipeline"]

_REPORTS = ("gate-served", "gate-trained")
_SELECTS = ("select", "select-with-dataset")

Compile = Callable[[Sequence[Recipe], Path, Images], Any]
"""Function that writes the pipeline of recipes to a file, for containers of the given images."""


@dataclass(frozen=True)
class LocalSettings:
    """Where and how pipelines run on this machine."""

    workspace: Path
    store: Store
    display: Display
    runner: str = "subprocess"
    """``subprocess`` runs steps as processes, ``docker`` in containers."""
    image: str = IMAGE
    """Image of the containers."""


@dataclass(frozen=True)
class LocalRun:
    """A completed run, whether or not its gates passed."""

    record: RunRecord
    dataset: DatasetManifest
    """Manifest of the dataset, with the account of the source's rows."""
    steps: list[StepResult]
    sweep: list[Candidate]
    """Score of each combination in the order of the sweep; empty without one."""
    seconds: float
    folder: Path
    report: Path


@dataclass(frozen=True)
class LocalComparison:
    """A completed comparison."""

    comparison: Comparison
    record: RunRecord
    dataset: DatasetManifest
    """Manifest of the dataset, with the account of the source's rows."""
    steps: list[StepResult]
    seconds: float
    folder: Path
    page: Path
    report: Path | None
    """Report of the gate that judged the winner; None if no system won."""


def run_pipeline(recipe: Recipe, settings: LocalSettings, sweep: Sequence[Combination] = ()) -> LocalRun:
    """Compile the pipeline of a recipe, or of a sweep over it, and run the compiled file to its end.

    Raises:
        InputError: The source cannot be read, or a step reports that its input is wrong.
        ConflictError: The same recipe is running in this workspace, or the source changes meanwhile.
        RunFailedError: A step failed for another reason.
    """
    from textgate.pipelines.training import compile_pipeline

    started = time.perf_counter()
    combinations = [describe(combination.settings) for combination in sweep]
    loops = {"preprocess": combinations, "train": combinations, "ingest": list(recipe.evaluate.out_of_domain)}

    def compile_recipe(recipes: Sequence[Recipe], path: Path, images: Images) -> None:
        compile_pipeline(recipes[0], path, images, sweep)

    log = _run(recipe.name, [recipe], settings, loops, compile_recipe)
    report = _publish_report(log.folder)
    table = _publish_sweep(log, settings.store) if sweep else []
    record = load_record(settings.store, log.folder.name)
    return LocalRun(record, log.dataset(), log.steps, table, time.perf_counter() - started, log.folder, report)


def run_comparison(recipes: Sequence[Recipe], limits: CostLimits, settings: LocalSettings) -> LocalComparison:
    """Compile the pipeline that compares recipes (see ``comparison_pipeline``) and run it to its end.

    Raises:
        InputError: The source cannot be read.
        ConflictError: A comparison for the same model is running in this workspace, or the source changes meanwhile.
        RunFailedError: A step failed.
    """
    from textgate.pipelines.comparison import comparison_name, compile_comparison

    started = time.perf_counter()
    loops = {"system": [recipe.name for recipe in recipes]}

    def compile_recipes(recipes: Sequence[Recipe], path: Path, images: Images) -> None:
        compile_comparison(recipes, limits, path, images)

    log = _run(comparison_name(recipes), recipes, settings, loops, compile_recipes)
    folder, store = log.folder, settings.store
    table, page = folder / "comparison.json", folder / "comparison.html"
    for artifact, path in (("comparison", table), ("page", page)):
        write_file(path, Path(log.outputs["compare"][artifact].uri).read_bytes())
        store.upload_file(path, f"runs/{folder.name}/{path.name}")
    comparison = Comparison.parse(table.read_bytes(), str(table))
    report = _publish_report(folder) if comparison.winner else None
    record = load_record(store, folder.name)
    seconds = time.perf_counter() - started
    return LocalComparison(comparison, record, log.dataset(), log.steps, seconds, folder, page, report)


def _run(
    name: str,
    recipes: Sequence[Recipe],
    settings: LocalSettings,
    loops: Mapping[str, Sequence[str]],
    compile_to: Compile,
) -> RunLog:
    """Compile the pipeline ``name`` of recipes that share a source, and run it."""
    from kfp import components

    runs = (settings.workspace / "runs").absolute()
    # Artifacts of runs hold the texts of the sources, which are not for other users of the machine.
    runs.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    runs.mkdir(exist_ok=True)
    store, image = settings.store, settings.image
    recipes = [with_feedback_of(recipe, store.bucket) for recipe in recipes]
    version = source_version(recipes[0].source)
    content, containers = "", None
    if settings.runner == "subprocess":
        check_clients()
    if settings.runner == "docker":
        content = _find_image(image, settings.display)
        remove_abandoned(runs)
        recipes = [recipe.with_sources(lambda source: copy_source(source, runs)) for recipe in recipes]
        containers = StepContainers(image, content, runs, name)
    file = settings.workspace / "pipelines" / f"{name}.yaml"
    file.parent.mkdir(exist_ok=True)
    store.ensure_bucket()
    with _exclusive(runs / f".{name}.lock", name), scratch_folder() as scratch, machine_errors(runs):
        compile_to(recipes, file, Images(image, image, content))
        environment = {"TMPDIR": str(scratch), "TEXTGATE_WORKSPACE": str(runs.parent)}
        log = RunLog(runs, store, settings.display, loops, environment, containers)
        try:
            with raised_signals(log.interrupt), log.capture():
                _initialize_kfp(settings, runs, scratch)
                pipeline = components.load_component_from_file(str(file))
                pipeline(bucket=store.bucket, source_version=version)
        except BaseException as error:
            log.finish(succeeded=False)
            if isinstance(error, RuntimeError):
                raise log.failure(error) from error
            raise
        log.finish()
    return log


def _find_image(image: str, display: Display) -> str:
    """Return the id of an image, which is pulled if this machine does not have it."""
    if found := local_image(image):
        return found
    display.step_reported("image", f"pulling {image}")
    return pull_image(image)


def _initialize_kfp(settings: LocalSettings, runs: Path, scratch: Path) -> None:
    from kfp import local

    # The artifacts of a cached step are in the store that it ran against, so each store has its own cache.
    store = settings.store
    address = hashlib.sha256(f"{store.client.meta.endpoint_url} {store.bucket}".encode()).hexdigest()[:12]
    local.init(
        runner=docker_runner(runs) if settings.runner == "docker" else local.SubprocessRunner(use_venv=False),
        pipeline_root=str(runs),
        workspace_root=str(scratch),
        enable_caching=True,
        cache_root=str(settings.workspace / "cache" / f"{settings.runner}-{address}"),
    )


@contextlib.contextmanager
def _exclusive(lock: Path, name: str) -> Iterator[None]:
    """Hold a lock: runs of the same name share the compiled file and compete for the same champion."""
    held = FileLock(lock)
    try:
        # Not while textgate gc removes artifacts of earlier runs.
        with FileLock(lock.with_name(GC_LOCK)):
            held.acquire(timeout=0)
    except Timeout as error:
        raise ConflictError(
            f"a run of {name} is under way in this workspace: wait for it or use another --workspace"
        ) from error
    try:
        yield
    finally:
        held.release()


def _publish_report(folder: Path) -> Path:
    """Copy the report of the last gate that was reached to ``report.html``; the gate itself has stored it."""
    source = next(path for task in _REPORTS if (path := folder / task / "report").exists())
    report = folder / "report.html"
    write_file(report, source.read_bytes())
    return report


def _publish_sweep(log: RunLog, store: Store) -> list[Candidate]:
    """Copy the output of select to ``sweep.json``; if select was cached, it is that of an earlier run."""
    select = next(log.outputs[task] for task in _SELECTS if task in log.outputs)
    table = log.folder / "sweep.json"
    write_file(table, Path(select["table"].uri).read_bytes())
    store.upload_file(table, f"runs/{log.folder.name}/sweep.json")
    return Candidates.validate_json(table.read_bytes())
