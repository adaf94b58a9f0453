"""One sentence for each error of the machine: a full disk, a missing permission, no memory, too many open files.

Python reports them as OSError with an errno (errno(3)). Libraries in other languages, such as safetensors, keep only
the system's text (strerror(3)) in an exception of their own.
"""

import errno
import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from textgate.components.step import InputError, MachineError

_OTHER_FOLDER = "name another folder (--workspace; TMPDIR and TEXTGATE_DOWNLOADS of the environment)"
_SENTENCES = {
    errno.ENOSPC: f"the disk of {{path}} is full: free {{resource}} there, or {_OTHER_FOLDER}",
    errno.EDQUOT: f"the disk quota of {{user}} for {{path}} is used up: free space there, or {_OTHER_FOLDER}",
    errno.EROFS: f"{{path}} is on a read-only file system: {_OTHER_FOLDER}",
    errno.EACCES: f"{{user}} has no permission for {{path}}: change its mode or owner, or {_OTHER_FOLDER}",
    errno.EPERM: f"{{user}} has no permission for {{path}}: change its mode or owner, or {_OTHER_FOLDER}",
    errno.ENOTDIR: f"{{path}} is below a file, not a folder: {_OTHER_FOLDER}",
    errno.EIO: f"the disk of {{path}} fails with an input/output error: see the system's log, or {_OTHER_FOLDER}",
    errno.EMFILE: "this process cannot open more than {files} files: allow more (ulimit -n)",
    errno.ENFILE: "this machine cannot open more files: end other processes",
    errno.ENOMEM: "this machine has no memory left: end other processes, or set smaller batches in the recipe",
}
_TEXTS = {os.strerror(code): code for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENOMEM)}
"""Texts of the system by which an exception without an errno is recognised."""
_FULL_BYTES = 2**16
"""A disk with less free space than this counts as full."""


@contextmanager
def machine_errors(*folders: Path) -> Iterator[None]:
    """Raise MachineError in place of an error of the machine.

    Args:
        folders: Folders that the body writes to; an error without a path is about the one whose disk is full.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if (sentence := machine_error(error, folders)) is None:
            raise
        raise sentence from error


def machine_error(error: Exception, folders: Sequence[Path] = ()) -> MachineError | None:
    """Return the sentence for an error of the machine, or None for another error.

    Args:
        error: Exception.
        folders: See ``machine_errors``.
    """
    if isinstance(error, RuntimeError) and "home directory" in str(error):  # Path.home
        return MachineError(
            f"user {os.getuid()} has no home folder: set HOME, or TEXTGATE_DOWNLOADS, to a folder that it can write"
        )
    if isinstance(error, MemoryError):
        code: int | None = errno.ENOMEM
    else:
        number = error.errno if isinstance(error, OSError) else None
        code = number or next((code for text, code in _TEXTS.items() if text in str(error)), None)
    if code not in _SENTENCES:
        return None
    path = _path(error, code, folders)
    return MachineError(
        _SENTENCES[code].format(
            path=path or "a folder",
            user=f"user {os.getuid()}",
            resource="inodes (df -i)" if path and _has_no_inodes(Path(path)) else "space",
            files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
    )


def _path(error: Exception, code: int, folders: Sequence[Path]) -> str | None:
    """Return the path of an error, or else the folder that this process writes to whose disk is full."""
    if isinstance(error, OSError) and isinstance(error.filename, str | Path):
        return os.fspath(error.filename)
    if code != errno.ENOSPC:
        return None
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    named = (Path(os.environ[name]) for name in ("TEXTGATE_WORKSPACE", "TEXTGATE_DOWNLOADS") if name in os.environ)
    places = [*folders, *named, temporary, Path.cwd()]
    return next((str(place) for place in places if _is_full(place)), None)


def _is_full(folder: Path) -> bool:
    status = os.statvfs(_existing(folder))
    return status.f_bavail * status.f_frsize < _FULL_BYTES or _has_no_inodes(folder)


def _has_no_inodes(path: Path) -> bool:
    status = os.statvfs(_existing(path))
    return status.f_files > 0 and not status.f_favail  # some file systems, such as btrfs, count no inodes


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if os.path.exists(folder))
