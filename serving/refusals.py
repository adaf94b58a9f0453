"""Versions that cannot be served, with their reasons: in the log, in the metrics and for ``/v1/models``."""

import logging
import time
from dataclasses import dataclass, field

from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics

RETRY_SECONDS = 60.0
"""Time after which a refused version is tried again."""


@dataclass(frozen=True)
class Refusal:
    """Version that cannot be served."""

    model: str
    channel: str
    """Channel that points at it, or ``pinned``."""
    version: str
    """Empty if the channel itself cannot be read."""
    reason: str
    retry_at: float
    """Time at which it is tried again (``time.monotonic``), unless its channel moves before."""


@dataclass
class Refusals:
    """At most one refusal for each model and channel; ``all`` is safe from any thread."""

    metrics: Metrics
    _refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)

    def all(self) -> list[Refusal]:
        """Return every refusal, sorted by model and channel."""
        return [refusal for _, refusal in sorted(self._refusals.copy().items())]

    def is_recent(self, model: str, channel: str, version: str) -> bool:
        """Return True if this version is refused and not to be tried again yet."""
        refusal = self._refusals.get((model, channel))
        return refusal is not None and refusal.version == version and time.monotonic() < refusal.retry_at

    def add(self, model: str, channel: str, version: str, reason: str, retry_seconds: float | None = None) -> None:
        """Refuse a version for ``retry_seconds``, by default ``RETRY_SECONDS``, or until its channel moves."""
        self.remove(model, channel)
        retry_at = time.monotonic() + (RETRY_SECONDS if retry_seconds is None else retry_seconds)
        self._refusals[model, channel] = Refusal(model, channel, version, reason, retry_at)
        self.metrics.refused.labels(model, channel, version).set(1)
        self.metrics.swaps.labels(model, channel, "refused").inc()
        log_event("version refused", logging.ERROR, model=model, channel=channel, version=version, reason=reason)

    def remove(self, model: str, channel: str) -> None:
        """Forget the refusal of a channel, if there is one."""
        refusal = self._refusals.pop((model, channel), None)
        if refusal:
            self.metrics.refused.remove(model, channel, refusal.version)
