"""Cache of downloads: folders named after the version of their content, which appear whole and are verified when used.

``fetch_once`` is the general form, for content that verifies itself, such as a bundle; ``fetch_verified`` stores a
digest beside the content.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from textgate.components.contracts import (
    ConflictError,
    InputError,
    ModelBundle,
    new_folder,
    remove_leftovers,
    write_file,
)
from textgate.components.contracts.files import LEFTOVER_SECONDS
from textgate.components.sources.digest import digest_of

_DIGEST = ".digest"
"""File with the digest of the content beside it. Folders that textgate 0.1 has downloaded have none."""
_SILENT_SECONDS = 1


def fetch_once(target: Path, uri: str, is_intact: Callable[[], bool], download: Callable[[], object]) -> None:
    """Download a file or folder of the cache if it is missing or damaged, in one process while others wait for it.

    Args:
        target: File or folder, named after its content.
        uri: Address, for the lines that are printed.
        is_intact: Function that verifies the target; it is called if the target exists.
        download: Function that creates the target with ``new_file`` or ``new_folder``.
    """
    if not (target.exists() and is_intact()):
        remove_leftovers(target.parent)
        with _exclusive(target, uri):
            if target.exists() and not is_intact():
                print(f"{target} is damaged: {uri} is fetched again", file=sys.stderr, flush=True)
                shutil.rmtree(target) if target.is_dir() else target.unlink()
            if not target.exists():
                download()
    with suppress(OSError):  # it belongs to another user, or the disk is read-only
        os.utime(target)


def fetch_verified(folder: Path, name: str, uri: str, download: Callable[[Path], object]) -> Path:
    """Download a file or folder into a folder of the cache unless it is there with the digest that it had.

    Args:
        folder: Folder, named after the version of the content.
        name: Name of the file or folder in it.
        uri: Address, for the lines that are printed.
        download: Function that writes the file or folder to the path that it is called with.

    Returns:
        ``folder / name``.
    """
    fetch_once(folder, uri, lambda: _has_digest(folder, name), lambda: store_verified(folder, name, download))
    return folder / name


def store_verified(folder: Path, name: str, write: Callable[[Path], object]) -> None:
    """Create a folder of the cache, unless another process has created it meanwhile."""
    with new_folder(folder, keep_existing=True) as new:
        write(new / name)
        write_file(new / _DIGEST, digest_of(new / name))


def is_bundle(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder is a bundle that matches its manifest and has a fingerprint that begins like this."""
    try:
        return ModelBundle.load(folder).fingerprint.startswith(fingerprint)
    except InputError:
        return False


def remove_unused(folder: Path, kept: str) -> None:
    """Remove the versions in a folder of the cache that no process has used for a day, except one."""
    oldest = time.time() - LEFTOVER_SECONDS
    for version in folder.iterdir():
        with suppress(FileNotFoundError):  # another process removes it as well
            if version.name != kept and version.lstat().st_mtime < oldest:
                shutil.rmtree(version, ignore_errors=True) if version.is_dir() else version.unlink()


def changed(uri: str) -> ConflictError:
    """Return the error of a source that is no longer the one whose version was determined."""
    return ConflictError(f"{uri} changed while the run started: run again")


def _has_digest(folder: Path, name: str) -> bool:
    try:
        return (folder / _DIGEST).read_text("utf-8") == digest_of(folder / name)
    except (OSError, UnicodeDecodeError):
        return False


@contextmanager
def _exclusive(target: Path, uri: str) -> Iterator[None]:
    """Hold the lock of a target, which the kernel releases if the process is killed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=_SILENT_SECONDS)
    except Timeout:
        print(f"waiting for another process that fetches {uri}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
