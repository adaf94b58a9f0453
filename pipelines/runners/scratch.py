"""Folder of a run's temporary files, the TMPDIR of its steps, which is removed when the run ends.

A run that was killed leaves its folder behind, unlocked: ``textgate-run-…`` in the folder of temporary files.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from textgate.components.contracts import MachineError, write_file

PREFIX = "textgate-run-"
LOCK = ".lock"
"""File in the folder that is locked while the run lasts."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder in TMPDIR, and remove it with everything that the steps have left in it.

    Raises:
        MachineError: TMPDIR names no folder.
    """
    # Not tempfile's choice, which passes over a TMPDIR that is absent, full or cannot be written.
    parent = os.environ.get("TMPDIR") or tempfile.gettempdir()
    if not os.path.isdir(parent):
        raise MachineError(f"TMPDIR is {parent}, which is no folder: create it, or name another one")
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=os.path.abspath(parent)))
    try:
        write_file(folder / "pid", str(os.getpid()))
        with FileLock(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
