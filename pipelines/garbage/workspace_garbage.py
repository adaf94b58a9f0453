"""Garbage on this machine: run folders, cache entries, downloads, bundles, what killed processes leave behind.

Runs and ``textgate gc`` exclude each other in a workspace, because a run uses artifacts of earlier ones.
"""

import contextlib
import fcntl
import math
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from textgate.components.contracts import ConflictError, InputError
from textgate.pipelines.container_engine import remove_container, step_containers
from textgate.pipelines.garbage.item import Garbage, Retention
from textgate.pipelines.garbage.versions import Needed

GC_LOCK = ".gc.lock"
"""Name of the lock in the folder of the runs that gc holds, and a run while it takes its own lock."""

_RUN = re.compile(r".+-\d{4}(-\d{2}){5}-\d{6}")
_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}|\.kfp_cache_.+\.tmp|\..+\.part")
"""Names of ``new_file`` and ``new_folder``, of kfp's cache, and of downloads of textgate 0.1."""
_VERSION = re.compile(r"[0-9a-f]{12}")
_ARTIFACT_URI = re.compile(r'"uri": "([^"]+)"')


@contextlib.contextmanager
def no_runs(workspace: Path) -> Iterator[None]:
    """Keep runs from starting in a workspace.

    Raises:
        ConflictError: A run is under way.
    """
    runs = workspace / "runs"
    if not runs.is_dir():
        yield
        return
    with FileLock(runs / GC_LOCK):
        for lock in runs.glob(".*.lock"):
            if lock.name == GC_LOCK:
                continue
            try:
                with FileLock(lock).acquire(timeout=0):
                    pass
            except Timeout as error:
                raise ConflictError(
                    f"a run of {lock.name[1:-5]} is under way in {workspace}, so its runs, caches and bundles are left "
                    "alone: run again when it has ended"
                ) from error
        yield


def find_workspace_garbage(
    workspace: Path, downloads: Path | None, needed: Mapping[str, Needed], retention: Retention
) -> list[Garbage]:
    """List the garbage of a workspace in which no run is under way.

    Args:
        workspace: Folder of the workspace.
        downloads: Folder of downloads, which other workspaces use too; None leaves it alone.
        needed: Needed versions and runs by model.
        retention: Ages.
    """
    now = time.time()
    grace, age = now - retention.grace.total_seconds(), now - retention.older_than.total_seconds()
    runs = {run for model in needed.values() for run in model.runs}
    items = [*_find_cache_entries(workspace, runs, age), *_find_runs(workspace, runs, grace, age)]
    items += _find_bundles(workspace, needed, age)
    shared = [downloads / kind for kind in ("https", "s3", "feedback", "pypi")] if downloads else []
    for folder in (workspace / "runs" / "sources", *shared):
        entries = folder.iterdir() if folder.is_dir() else ()
        items += [
            _item("download", path, "it was not used for long") for path in sorted(entries) if _last_use(path) <= age
        ]
    found = [Path(item.name) for item in items]
    for root in filter(None, (workspace, downloads)):
        for path in _temporary_names(root, workspace / "store"):
            if _last_use(path) <= grace and not any(path.is_relative_to(other) for other in found):
                items.append(_item("temporary", path, "the process that wrote it was killed"))
    items += [
        _item("temporary", path, "the run that wrote it was killed") for path in _scratch() if _last_use(path) <= grace
    ]
    return [*items, *_find_containers(workspace)]


def _find_containers(workspace: Path) -> Iterator[Garbage]:
    """Yield the containers of runs of this workspace, whatever their age: one that still runs is at work for no run."""
    if not any(workspace.glob("cache/docker-*")):  # no run here was with --runner docker
        return
    with contextlib.suppress(InputError):  # without an engine that answers nothing of them runs
        for container in step_containers(workspace / "runs"):
            remove = partial(_remove_step_container, container.name)
            yield Garbage("container", container.name, 0, 0, f"the run {container.run} has ended", remove)


def _remove_step_container(name: str) -> bool:
    remove_container(name)
    return True


def _scratch() -> Iterator[Path]:
    """Yield this user's folders of temporary files of runs (``textgate-run-…`` in TMPDIR) that no run holds locked."""
    for lock in sorted(Path(tempfile.gettempdir()).glob("textgate-run-*/.lock")):
        if lock.lstat().st_uid == os.getuid():
            with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
                yield lock.parent


def _find_cache_entries(workspace: Path, keep: set[str], oldest: float) -> Iterator[Garbage]:
    """Yield the entries of kfp's cache that are old, or whose artifacts are gone."""
    for entry in sorted(workspace.glob("cache/*/*.json")):
        artifacts = _artifacts(entry)
        if any(not path.exists() for path in artifacts):
            yield _item("cache entry", entry, "its artifacts are gone")
        elif entry.stat().st_mtime <= oldest and not any(keep & set(path.parts) for path in artifacts):
            yield _item("cache entry", entry, "it is old")


def _find_runs(workspace: Path, keep: set[str], unfinished: float, finished: float) -> Iterator[Garbage]:
    """Yield the run folders that neither a needed version nor a cache entry that stays comes from.

    A folder that the cache uses in part loses the rest.
    """
    entries = [entry for entry in workspace.glob("cache/*/*.json") if entry.stat().st_mtime > finished]
    cached = {artifact for entry in entries for artifact in _artifacts(entry)}
    for run in sorted((workspace / "runs").glob("*")):
        if not _RUN.fullmatch(run.name) or run.name in keep:
            continue
        is_finished = (run / "record" / "executor_output.json").exists()
        if _last_use(run) <= (finished if is_finished else unfinished):
            reason = "its versions are gone or were never promoted" if is_finished else "the run never finished"
            yield from _unused(run.absolute(), cached, reason)


def _unused(folder: Path, used: set[Path], reason: str) -> Iterator[Garbage]:
    """Yield the largest parts of a folder that contain nothing that is used."""
    if folder in used:
        return
    if not any(path.is_relative_to(folder) for path in used):
        yield _item("run", folder, reason)
    elif folder.is_dir():
        for path in sorted(folder.iterdir()):
            yield from _unused(path, used, reason)


def _find_bundles(workspace: Path, needed: Mapping[str, Needed], oldest: float) -> Iterator[Garbage]:
    """Yield the downloaded bundles that no channel points at and no server of this workspace has served last."""
    channels = workspace / "channels"
    markers = [path for path in channels.rglob("*") if path.is_file()] if channels.is_dir() else []
    served = {version for path in markers for version in _VERSION.findall(path.read_text("utf-8", "replace"))}
    for folder in sorted(workspace.glob("models/*/*")):
        model = needed.get(folder.parent.name)
        if not _VERSION.fullmatch(folder.name) or folder.name in served or (model and folder.name in model.versions):
            continue
        if _last_use(folder) <= oldest:
            yield _item("bundle", folder, "no channel points at it", _remove_bundle)


def _temporary_names(root: Path, store: Path) -> Iterator[Path]:
    """Yield the temporary names below a folder, without those inside another one."""
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if Path(parent, name) != store]
        names = [name for name in (*folders, *files) if _TEMPORARY.fullmatch(name)]
        folders[:] = [name for name in folders if name not in names]
        yield from (Path(parent, name) for name in sorted(names))


def _artifacts(entry: Path) -> list[Path]:
    """Return the local artifacts of a cache entry, which is a JSON file of kfp."""
    uris = _ARTIFACT_URI.findall(entry.read_text("utf-8", "replace"))
    return [Path(uri).absolute() for uri in uris if "://" not in uri]


def _item(kind: str, path: Path, reason: str, remove: Callable[[Path], bool] | None = None) -> Garbage:
    files = [path] if not path.is_dir() else [file for file in path.rglob("*") if not file.is_dir()]
    size = sum(file.lstat().st_size for file in files)
    return Garbage(kind, str(path), len(files), size, reason, partial(remove or _remove, path))


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        # Renamed first, so that no reader finds a folder that has lost some of its files.
        shutil.rmtree(path.rename(path.with_name(f".{path.name[:100]}-{uuid.uuid4().hex[:8]}")))
    else:
        path.unlink(missing_ok=True)
    return True


def _remove_bundle(folder: Path) -> bool:
    """Remove a bundle unless a server has it open, which then holds a shared lock on the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def _last_use(path: Path) -> float:
    """Return the time of the last write, or of the last read as far as the file system tells, in a file or folder."""
    paths = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    try:
        return max(
            path.lstat().st_mtime if path.is_dir() else max(path.lstat().st_mtime, path.lstat().st_atime)
            for path in paths
        )
    except FileNotFoundError:  # another process is at work here
        return math.inf
