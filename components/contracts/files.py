"""File digests, hard links, and files and folders that appear whole.

Everything that another process may read is written with ``new_file`` or ``new_folder``: under a private temporary name
in the same folder, then synced to the disk and renamed (POSIX rename is atomic). A process that is killed leaves at
most a hidden temporary name, never a part of a file under its real name; ``remove_leftovers`` removes old ones.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}")
"""Names of ``new_file`` and ``new_folder``, whose last characters are those of the module ``tempfile``."""
LEFTOVER_SECONDS = 24 * 3600
"""Age at which a temporary name belongs to no process that still writes to it."""


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_file(source: Path, target: Path) -> None:
    """Hard-link ``source`` at ``target``, or copy it to another disk; create the folder of ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def new_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yield a temporary file that replaces ``path`` if the body succeeds, and is deleted if it raises.

    Args:
        path: Path of the file; its folder is created. A link stays, and the file that it names is replaced; a device
            or a pipe, such as ``/dev/stdout``, is written to.
        mode: Permissions of the file.
    """
    path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, name = tempfile.mkstemp(prefix=_prefix(path), dir=path.parent)
    try:
        with _named(path), os.fdopen(handle, "wb") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def write_file(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write a whole file, text in UTF-8, that appears at once; see ``new_file``."""
    with new_file(path, mode) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def new_folder(path: Path, *, keep_existing: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to ``path`` if the body succeeds, and deleted if it raises.

    Args:
        path: Path of the folder; its parent is created.
        keep_existing: Whether a folder that another process has put at ``path`` meanwhile is kept and the new one
            deleted, because both have the same content, such as a cache entry named after its content.

    Raises:
        FileExistsError: ``path`` exists and is not an empty folder, unless ``keep_existing``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not any(path.iterdir()):
        with suppress(OSError):  # another process may have filled or removed it
            path.rmdir()
    if path.exists() and not keep_existing:
        raise FileExistsError(f"{path} exists already")
    with _named(path):
        folder = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
    folder.chmod(0o755)
    try:
        with _named(path):
            yield folder
        for name in [*folder.rglob("*"), folder]:
            if not name.is_symlink():
                sync_path(name)
        try:
            folder.rename(path)
        except OSError:
            if not (keep_existing and path.is_dir()):
                raise
            shutil.rmtree(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync_path(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of killed processes from a folder: those untouched for a day."""
    oldest = time.time() - LEFTOVER_SECONDS
    for path in folder.iterdir() if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(path.name) and _last_change(path) < oldest:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _last_change(path: Path) -> float:
    """Return the time of the last change of a file, or of a folder and all that is in it, in seconds since 1970.

    A name that another process removes meanwhile counts as changed now.
    """
    try:
        names = [path, *(path.rglob("*") if path.is_dir() else ())]
        return max(float(name.lstat().st_mtime) for name in names)
    except OSError:
        return time.time()


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}-"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the path in an error of the system that names none, or its temporary name."""
    try:
        yield
    except OSError as error:
        if error.errno and (error.filename is None or str(error.filename).startswith(str(path.parent / _prefix(path)))):
            error.filename = str(path)
        raise


def sync_path(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk (fsync), where the file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # EINVAL: not every file system syncs folders
            os.fsync(handle)
    finally:
        os.close(handle)
