"""Run a compiled pipeline on this machine through ``kfp.local``, in subprocesses or in containers.

What lies in the workspace:

    <home>/pipelines/<recipe>.yaml                the compiled pipeline that is run, or compare-<model>.yaml
    <home>/runs/<run>/<task>/<artifact>           as in the store under runs/<run>/
    <home>/runs/<run>/<loop>-iteration-<n>/…      the same for each combination of a sweep
    <home>/runs/<run>/log.txt, report.html, sweep.json, comparison.html, comparison.json
    <home>/cache/…                                keys of kfp.local's cache, one folder a store
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgate.components.contracts import Candidate, Candidates, InputError, Recipe, RunRecord, Source
from textgate.components.contracts.comparison import Comparison, Limits
from textgate.components.image import Images
from textgate.components.sources import content_version
from textgate.components.storage import Store
from textgate.components.storage.runs import load_record
from textgate.pipelines.runners.display import Display
from textgate.pipelines.runners.run_log import RunFailedError, RunLog, StepResult
from textgate.pipelines.sweep import Combination, describe

__all__ = ["LocalComparison", "LocalRun", "RunFailedError", "run_comparison", "run_pipeline"]

_REPORTS = ("gate-served", "gate-trained")
_SELECTS = ("select", "select-with-dataset")
_CERTIFICATES = ("AWS_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True)
class LocalRun:
    """A run that completed, whatever its gates decided."""

    record: RunRecord
    steps: list[StepResult]
    sweep: list[Candidate]
    """What each combination reached, in the order of the sweep; empty without one."""
    seconds: float
    folder: Path
    report: Path


@dataclass(frozen=True)
class LocalComparison:
    """A comparison that completed, whoever won it."""

    comparison: Comparison
    record: RunRecord
    steps: list[StepResult]
    seconds: float
    folder: Path
    page: Path
    report: Path | None
    """Of the gate that judged the winner, if there was one."""


def run_pipeline(
    recipe: Recipe,
    home: Path,
    store: Store,
    runner: str,
    image: str,
    display: Display,
    sweep: Sequence[Combination] = (),
) -> LocalRun:
    """Compile the pipeline of the recipe, or of a sweep over it, and run the compiled file to its end.

    Raises:
        InputError: the source cannot be read, the same recipe is running in this workspace, or a step says what it was
            given is wrong.
        RunFailedError: a step failed otherwise.
    """
    from textgate.pipelines.training import compile_pipeline

    started = time.perf_counter()
    swept = [describe(combination.settings) for combination in sweep]
    loops = {"preprocess": swept, "train": swept, "ingest": list(recipe.evaluate.out_of_domain)}

    def compiled(recipes: Sequence[Recipe], path: Path, images: Images) -> None:
        compile_pipeline(recipes[0], path, images, sweep)

    log = _run(recipe.name, [recipe], home, store, runner, image, display, loops, compiled)
    report = _keep_report(log.folder, store)
    table = _keep_table(log, store) if sweep else []
    record = load_record(store, log.folder.name)
    return LocalRun(record, log.steps, table, time.perf_counter() - started, log.folder, report)


def run_comparison(
    recipes: Sequence[Recipe], limits: Limits, home: Path, store: Store, runner: str, image: str, display: Display
) -> LocalComparison:
    """Compile the pipeline that compares the recipes, see ``comparison_pipeline``, and run it to its end.

    Raises:
        InputError: the source cannot be read, or the same model is being compared for in this workspace.
        RunFailedError: a step failed.
    """
    from textgate.pipelines.comparison import comparison_name, compile_comparison

    started = time.perf_counter()
    loops = {"system": [recipe.name for recipe in recipes]}

    def compiled(placed: Sequence[Recipe], path: Path, images: Images) -> None:
        compile_comparison(placed, limits, path, images)

    log = _run(comparison_name(recipes), recipes, home, store, runner, image, display, loops, compiled)
    found = {name: Path(log.outputs["compare"][name].uri) for name in ("comparison", "page")}
    kept = {"comparison": log.folder / "comparison.json", "page": log.folder / "comparison.html"}
    for name, path in kept.items():
        shutil.copyfile(found[name], path)
        store.upload_file(path, f"runs/{log.folder.name}/{path.name}")
    comparison = Comparison.parse(kept["comparison"].read_bytes(), str(kept["comparison"]))
    report = _keep_report(log.folder, store) if comparison.winner else None
    record = load_record(store, log.folder.name)
    return LocalComparison(
        comparison, record, log.steps, time.perf_counter() - started, log.folder, kept["page"], report
    )


def _run(
    name: str,
    recipes: Sequence[Recipe],
    home: Path,
    store: Store,
    runner: str,
    image: str,
    display: Display,
    loops: Mapping[str, Sequence[str]],
    compiled: Callable[[Sequence[Recipe], Path, Images], None],
) -> RunLog:
    """Have the pipeline of the recipes, which share their source, ``compiled`` to a file, and run that."""
    from kfp import components

    runs = (home / "runs").absolute()
    runs.mkdir(parents=True, exist_ok=True)
    source_version = content_version(recipes[0].source.uri)
    content = ""
    if runner == "docker":
        recipes = [recipe.with_sources(lambda source: _below(source, runs)) for recipe in recipes]
        content = _image_id(image)
    file = home / "pipelines" / f"{name}.yaml"
    file.parent.mkdir(exist_ok=True)
    store.ensure_bucket()
    with _alone(runs / f".{name}.lock", name):
        compiled(recipes, file, Images(image, image, content))
        log = RunLog(runs, store, display, loops)
        try:
            with log.following():
                _initialise_kfp(runner, runs, home, store)
                pipeline = components.load_component_from_file(str(file))
                pipeline(bucket=store.bucket, source_version=source_version)
        except RuntimeError as error:
            raise log.failure(error) from error
        finally:
            log.finish()
    return log


def _initialise_kfp(runner: str, runs: Path, home: Path, store: Store) -> None:
    from kfp import local

    # A cached step's artifacts lie in the store it ran against, so each store has a cache of its own.
    address = hashlib.sha256(f"{store.client.meta.endpoint_url} {store.bucket}".encode()).hexdigest()[:12]
    chosen: Any = local.SubprocessRunner(use_venv=False)
    if runner == "docker":
        chosen = _docker_runner(runs)
    local.init(
        runner=chosen,
        pipeline_root=str(runs),
        enable_caching=True,
        cache_root=str(home / "cache" / f"{runner}-{address}"),
    )


def _image_id(image: str) -> str:
    """What the image's name stands for now; empty where the engine has yet to fetch it."""
    try:
        import docker

        return str(docker.from_env().images.get(image).id)
    except ImportError as error:
        raise InputError("--runner docker needs the Python package docker: pip install docker") from error
    except docker.errors.ImageNotFound:
        return ""
    except docker.errors.DockerException as error:
        raise InputError(f"--runner docker needs a Docker engine that answers: {error}") from error


def _docker_runner(runs: Path) -> Any:
    from docker.types import Mount
    from kfp import local

    # The store listens on this machine's loopback, and artifacts must belong to whoever started the run. As on a
    # cluster, nothing else can be written than the run's own folder and a volume that goes when the step ends.
    return local.DockerRunner(
        environment=_container_environment(runs),
        network_mode="host",
        user=f"{os.getuid()}:{os.getgid()}",
        read_only=True,
        mounts=[Mount("/tmp", None)],  # noqa: S108
    )


def _container_environment(runs: Path) -> dict[str, str]:
    """What this shell says about stores, indexes, hubs and trackers, with its files where a container sees them."""
    told = {
        key: value
        for key, value in os.environ.items()
        if key.startswith(("AWS_", "HF_", "PIP_", "WANDB_", "MLFLOW_", "TEXTGATE_PROCESSES"))
    }
    for name in _CERTIFICATES:
        bundle = Path(os.environ.get(name, ""))
        if bundle.is_file():
            copy = runs / "certificates" / f"{name}.pem"
            copy.parent.mkdir(exist_ok=True)
            told[name] = str(shutil.copyfile(bundle, copy))
    downloads = runs / "downloads"
    return {**told, "HOME": "/tmp", "TEXTGATE_DOWNLOADS": str(downloads), "HF_HOME": str(downloads / "huggingface")}  # noqa: S108


def _below(source: Source, runs: Path) -> Source:
    """A local source copied below ``runs``, the one folder a container sees."""
    path = Path(source.uri)
    if "://" in source.uri:
        return source
    copy = runs / "sources" / content_version(source.uri)[:16] / path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy2(path, copy)
    return source.model_copy(update={"uri": str(copy)})


@contextlib.contextmanager
def _alone(lock: Path, recipe: str) -> Iterator[None]:
    """Hold the recipe's lock: its runs share the compiled file and compete for the same champion."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"a run of {recipe} is under way in this workspace: wait for it or use another --home"
            ) from error
        yield


def _keep_report(folder: Path, store: Store) -> Path:
    """The page of the last gate that was reached, under a name a browser opens."""
    source = next(path for task in _REPORTS if (path := folder / task / "report").exists())
    report = folder / "report.html"
    shutil.copyfile(source, report)
    store.upload_file(report, f"runs/{folder.name}/report.html")
    return report


def _keep_table(log: RunLog, store: Store) -> list[Candidate]:
    """What select found out, of this run or of the earlier one whose output it took from the cache."""
    select = next(log.outputs[task] for task in _SELECTS if task in log.outputs)
    table = log.folder / "sweep.json"
    shutil.copyfile(select["table"].uri, table)
    store.upload_file(table, f"runs/{log.folder.name}/sweep.json")
    return Candidates.validate_json(table.read_bytes())
