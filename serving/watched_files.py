"""Files that are read again when they change, such as API keys and certificates of a mounted Kubernetes secret."""

import os
from collections.abc import Sequence
from pathlib import Path


class WatchedFiles:
    """Files whose changes are noticed by inode, size and time of modification."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._seen = self._state()

    def changed(self) -> bool:
        """Return whether a file is another one than at the last call; a missing file has not changed yet."""
        state = self._state()
        if None in state or state == self._seen:
            return False
        self._seen = state
        return True

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_identity(path) for path in self._paths]


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        # Follows links: Kubernetes replaces the link to the folder of a mounted secret.
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
