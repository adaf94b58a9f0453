"""Files and folders on local disk: a path or ``file://``."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from textgate.components.contracts import InputError
from textgate.components.sources.cache import changed
from textgate.components.sources.digest import digest_of, walk

_TICK_SECONDS = 0.02
"""Longest time between two ticks of the clock by which Linux stamps files (jiffies of 1 to 10 ms)."""
_COARSE_TICK_SECONDS = 2
"""The same for file systems that store whole seconds."""


def fetch(uri: str, downloads: Path, version: str | None = None) -> Path:
    """Return the path itself; nothing is copied, and ``unchanged`` holds the version.

    Raises:
        InputError: The path does not exist.
    """
    return _existing_path(uri)


def version(uri: str) -> str:
    """Return the digest of the names and contents of all files.

    Raises:
        InputError: The path does not exist or cannot be read.
    """
    path = _existing_path(uri)
    try:
        return digest_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def unchanged(uri: str, version_: str) -> Iterator[None]:
    """Make sure that what the body reads has a version, also if it is changed and put back meanwhile.

    The files are read in place. Whoever writes to a file, replaces, renames or links it changes its inode or its
    status change time (``st_ctime``), which no program can set.

    Raises:
        InputError: The path does not exist or cannot be read.
        ConflictError: The path has another version, or changes before the body ends.
    """
    path = _existing_path(uri)
    before = _state(path)
    _wait_for_next_tick(before)
    if version(uri) != version_:
        raise changed(uri)
    try:
        yield
    except Exception as error:
        if _state(path) != before:  # the cause of the error
            raise changed(uri) from error
        raise
    if _state(path) != before:
        raise changed(uri)


_State = list[tuple[str, int, int, int, int]]


def _state(path: Path) -> _State:
    """Return name, inode, size, and times in ns of a path, of all that is in it and of the links that lead to it."""
    links = [link for link in [path, *path.absolute().parents] if link.is_symlink()]
    state = []
    for entry in [*walk(path), *links]:
        for follow in (True, False):
            with suppress(OSError):  # a link without a target, or a name that has just been removed
                status = entry.stat(follow_symlinks=follow)
                times = status.st_mtime_ns, status.st_ctime_ns
                state.append((str(entry), status.st_ino, status.st_size, *times))
    return sorted(state)


def _wait_for_next_tick(state: _State) -> None:
    """Wait until the next change of a path will get another time than the last one."""
    newest = max((entry[-1] for entry in state), default=0)
    tick = _TICK_SECONDS if newest % 1_000_000_000 else _COARSE_TICK_SECONDS
    age = time.time() - newest / 1e9
    if 0 <= age < tick:
        time.sleep(tick - age)


def _existing_path(uri: str) -> Path:
    path = Path(unquote(urlsplit(uri).path)) if uri.startswith("file://") else Path(uri)
    if not path.exists():
        raise InputError(
            f"there is no file or folder {path}: say where the source lies with --source, "
            "a base model with --set train.base_model=…"
        )
    return path
