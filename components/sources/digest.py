"""The digest from which versions and download folders are named."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from textgate.components.contracts import file_sha256


def digest(*parts: str) -> str:
    """Return the hex sha256 of strings, such as file names, which need not be valid UTF-8."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def digest_of(path: Path) -> str:
    """Return a digest of the content of a file, or of the names and contents of all files of a folder.

    Raises:
        OSError: A file cannot be read.
    """
    files = sorted(file for file in walk(path) if file.is_file())
    return digest(*(f"{file.relative_to(path)}\0{file_sha256(file)}" for file in files))


def walk(path: Path) -> Iterator[Path]:
    """Yield a path and, of a folder, all that is in it: links are followed, folders with a leading dot are not entered.

    A workspace, and the temporary folders of a process that writes its output there, are such folders.
    """
    yield path
    for folder, folders, files in os.walk(path, followlinks=True):
        parent = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".") and not _is_loop(parent / name)]
        yield from (parent / name for name in [*folders, *files])


def _is_loop(folder: Path) -> bool:
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
