"""The folder of downloads, and the limit of what is written to it."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from textgate.components.contracts import InputError

_USABLE_SHARE = 0.9
"""Share of the free disk space that one download may fill."""


def default_downloads() -> Path:
    """Return the default download folder: TEXTGATE_DOWNLOADS, or textgate/ in the user's cache folder."""
    configured = os.environ.get("TEXTGATE_DOWNLOADS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(configured) if configured else cache / "textgate"


def usable_bytes(folder: Path) -> int:
    """Return how many bytes a download may write to a folder: 90 % of the free space of its disk."""
    return int(shutil.disk_usage(folder).free * _USABLE_SHARE)


def require_room(size: int, limit: int, uri: str) -> None:
    """Check a size, declared or written so far, against a limit in bytes.

    Raises:
        InputError: The size is above the limit.
    """
    if size > limit:
        raise InputError(
            f"{uri} has {size:,} bytes or more, but there is room for {limit:,}: free some disk space, or set "
            "TEXTGATE_DOWNLOADS to a folder on a larger disk"
        )


def write_chunks(chunks: Iterable[bytes], file: BinaryIO, limit: int, uri: str) -> None:
    """Write chunks to a file.

    Raises:
        InputError: There are more than ``limit`` bytes.
    """
    written = 0
    for chunk in chunks:
        written += len(chunk)
        require_room(written, limit, uri)
        file.write(chunk)
