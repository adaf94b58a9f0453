"""One item of garbage, and the ages that make something garbage."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True)
class Retention:
    """How long what nothing needs is kept."""

    older_than: timedelta
    """Age from which versions, finished runs, checkpoints, caches and downloads are removed."""
    grace: timedelta
    """Age from which unfinished things are removed, and below which nothing is."""
    champions: int
    """Number of earlier champions that are kept for a rollback, whatever their age."""


@dataclass(frozen=True)
class Garbage:
    """Something to remove."""

    kind: str
    """Such as version, run or temporary."""
    name: str
    """URI, or path on this machine."""
    files: int
    bytes: int
    reason: str
    remove: Callable[[], bool] = field(repr=False)
    """Removes it; returns False if it has come into use since it was found."""
