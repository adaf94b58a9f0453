"""File digests, hard links and atomically created folders."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to ``path`` if the body succeeds, and deleted if it raises.

    Raises:
        FileExistsError: ``path`` exists and is not an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    folder.chmod(0o755)
    try:
        yield folder
        folder.rename(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
