"""Run a compiled pipeline on this machine through ``kfp.local``, in subprocesses or in containers.

kfp.local tells what happens only in what it prints, so its output is read line by line: into the run's log, to follow
the steps, and to bring each step's artifacts to the store as soon as it has finished.

    <home>/pipelines/<recipe>.yaml                the compiled pipeline that is run
    <home>/runs/<run>/<task>/<artifact>           as in the store under runs/<run>/
    <home>/runs/<run>/log.txt, report.html
    <home>/cache/…                                keys of kfp.local's cache, one folder a store
"""

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, ProgressLine, Recipe, RunRecord
from textgate.components.step import ERROR_PREFIX, WORK_PREFIX
from textgate.components.storage import Store
from textgate.components.storage.fetch import version
from textgate.components.storage.runs import read_record
from textgate.pipelines.display import Display

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([^']+)'")
_ENDED = re.compile(r"Task '([^']+)' finished with status (SUCCESS|FAILURE)")
_CACHED = re.compile(r"Task (\S+) cache hit")

_REPORTS = ("gate-served", "gate-trained")


class RunFailedError(Exception):
    """A step failed for a reason that is not the caller's; the message says which step and where its log lies."""


@dataclass(frozen=True)
class Step:
    """What became of one step."""

    name: str
    outcome: str
    """done, cached or failed."""
    seconds: float
    work_seconds: float
    """Of ``seconds``, what the step itself worked; the rest is the pipeline's."""


@dataclass(frozen=True)
class LocalRun:
    """A run that completed, whatever its gates decided."""

    record: RunRecord
    steps: list[Step]
    seconds: float
    folder: Path
    report: Path


def run_pipeline(recipe: Recipe, home: Path, store: Store, runner: str, image: str, display: Display) -> LocalRun:
    """Compile the recipe's pipeline and run the compiled file to its end.

    Raises:
        InputError: the source cannot be read, the same recipe is running in this workspace, or a step says what it was
            given is wrong.
        RunFailedError: a step failed otherwise.
    """
    from kfp import components

    from textgate.pipelines.training import compile_pipeline

    started = time.perf_counter()
    runs = (home / "runs").absolute()
    runs.mkdir(parents=True, exist_ok=True)
    source_version = version(recipe.source.uri)
    if runner == "docker":
        recipe = _with_source_below(recipe, runs, source_version)
    compiled = home / "pipelines" / f"{recipe.name}.yaml"
    compiled.parent.mkdir(exist_ok=True)
    compile_pipeline(recipe, compiled, image)
    store.ensure_bucket()
    with _alone(runs / f".{recipe.name}.lock", recipe.name), _quiet_kfp():
        _initialise_kfp(runner, runs, home, store)
        log = _RunLog(runs, recipe.name, store, display)
        try:
            with contextlib.redirect_stdout(log):
                logging.getLogger().addHandler(logging.StreamHandler(log))
                logging.getLogger().setLevel(logging.INFO)
                pipeline = components.load_component_from_file(str(compiled))
                pipeline(bucket=store.bucket, source_version=source_version)
        except RuntimeError as error:
            raise log.failure(error) from error
        finally:
            log.finish()
    folder = log.folder
    report = _keep_report(folder, store)
    record = read_record(store, folder.name)
    return LocalRun(record, log.steps, time.perf_counter() - started, folder, report)


class _RunLog(io.TextIOBase):
    """Stands in for standard output while kfp.local runs."""

    def __init__(self, runs: Path, recipe: str, store: Store, display: Display) -> None:
        self._runs, self._store, self._display = runs, store, display
        self._name = re.compile(rf"{re.escape(recipe)}-\d{{4}}(-\d+){{6}}")
        self._earlier = set(self._run_folders())
        self._lines: list[str] = []
        self._pending = ""
        self._step_started = 0.0
        self._step = ""
        self._work = 0.0
        self._step_lines: list[str] = []
        self._last_words = ""
        self._sentence: str | None = None
        # One thread: artifacts reach the store in the order of the steps, while the next step works.
        self._uploads = ThreadPoolExecutor(max_workers=1)
        self._uploading: list[Future[None]] = []
        self.steps: list[Step] = []

    def _run_folders(self) -> list[Path]:
        return [path for path in self._runs.iterdir() if self._name.fullmatch(path.name)]

    @property
    def folder(self) -> Path:
        """The folder kfp.local made for this run."""
        (folder,) = set(self._run_folders()) - self._earlier
        return folder

    def write(self, text: str) -> int:
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._read(_ANSI.sub("", line).rstrip())
        return len(text)

    def _read(self, line: str) -> None:
        self._lines.append(line)
        said = line.strip()
        if match := _STARTED.search(line):
            self._step, self._step_started, self._work = match[1], time.perf_counter(), 0.0
            self._step_lines = []
            self._display.step_started(self._step)
        elif progress := ProgressLine.parse(line):
            self._display.step_says(self._step, progress.text)
        elif said.startswith(ERROR_PREFIX):
            self._sentence = said.removeprefix(ERROR_PREFIX)
        elif said.startswith(WORK_PREFIX):
            self._work = float(said.removeprefix(WORK_PREFIX))
        elif match := _ENDED.search(line):
            self._end("done" if match[2] == "SUCCESS" else "failed")
        elif line.startswith("    ") and said:
            self._step_lines.append(said)
        elif match := _CACHED.search(line):
            self._step, self._step_started, self._work = match[1], time.perf_counter(), 0.0
            self._end("cached")

    def _end(self, outcome: str) -> None:
        seconds = time.perf_counter() - self._step_started
        if outcome == "failed":
            self._last_words = f": {self._step_lines[-1]}" if self._step_lines else ""
        self.steps.append(Step(self._step, outcome, seconds, self._work))
        self._display.step_ended(self._step, outcome, seconds)
        if outcome != "cached":
            prefix = f"runs/{self.folder.name}/{self._step}"
            self._uploading.append(self._uploads.submit(self._store.upload_folder, self.folder / self._step, prefix))

    def failure(self, error: RuntimeError) -> Exception:
        """What to tell the person after kfp.local gave up."""
        if self._sentence is not None:
            return InputError(self._sentence)
        failed = [step.name for step in self.steps if step.outcome == "failed"]
        where = f"step {failed[0]} failed{self._last_words}" if failed else f"the pipeline failed ({error})"
        return RunFailedError(f"{where}; the whole log is in {self.folder / 'log.txt'}")

    def finish(self) -> None:
        """Keep the log beside the artifacts, here and in the store, once every artifact has reached it."""
        self._uploads.shutdown()
        for upload in self._uploading:
            upload.result()
        with contextlib.suppress(ValueError):  # no folder: nothing was started
            path = self.folder / "log.txt"
            path.write_text("\n".join([*self._lines, self._pending]) + "\n", "utf-8")
            self._store.upload_file(path, f"runs/{self.folder.name}/log.txt")


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


def _docker_runner(runs: Path) -> Any:
    from kfp import local

    try:
        import docker

        docker.from_env().ping()
    except ImportError as error:
        raise InputError("--runner docker needs the Python package docker: pip install docker") from error
    except docker.errors.DockerException as error:
        raise InputError(f"--runner docker needs a Docker engine that answers: {error}") from error
    # The store listens on this machine's loopback, and artifacts must belong to whoever started the run.
    inherited = {key: value for key, value in os.environ.items() if key.startswith(("AWS_", "HF_", "PIP_"))}
    return local.DockerRunner(
        environment={**inherited, "HOME": "/tmp", "TEXTGATE_DOWNLOADS": str(runs / "downloads")},  # noqa: S108
        network_mode="host",
        user=f"{os.getuid()}:{os.getgid()}",
    )


def _with_source_below(recipe: Recipe, runs: Path, source_version: str) -> Recipe:
    """The recipe with a local source copied below ``runs``, the one folder a container sees."""
    path = Path(recipe.source.uri)
    if "://" in recipe.source.uri:
        return recipe
    copy = runs / "sources" / source_version[:16] / path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy2(path, copy)
    return recipe.model_copy(update={"source": recipe.source.model_copy(update={"uri": str(copy)})})


@contextlib.contextmanager
def _alone(lock: Path, recipe: str) -> Iterator[None]:
    """Hold the recipe's lock: a run's folder is known by being the one new folder of its recipe."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"a run of {recipe} is under way in this workspace: wait for it or use another --home"
            ) from error
        yield


@contextlib.contextmanager
def _quiet_kfp() -> Iterator[None]:
    """Silence kfp.local's warnings about cluster settings, and put the root logger back afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _keep_report(folder: Path, store: Store) -> Path:
    """The page of the last gate that was reached, under a name a browser opens."""
    source = next(path for task in _REPORTS if (path := folder / task / "report").exists())
    report = folder / "report.html"
    shutil.copyfile(source, report)
    store.upload_file(report, f"runs/{folder.name}/report.html")
    return report
