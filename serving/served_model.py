"""What the repository knows about each model: the versions that serve, and those that cannot."""

from dataclasses import dataclass

from textgate.components.storage import ModelRef
from textgate.serving.batching import ServedVersion

CHALLENGER, SHADOW, PINNED = "challenger", "shadow", "pinned"


@dataclass(frozen=True)
class ServedModel:
    """Versions of one model by role."""

    target: ModelRef
    main: ServedVersion
    challenger: ServedVersion | None = None
    shadow: ServedVersion | None = None

    @property
    def versions(self) -> dict[str, ServedVersion]:
        """Versions by channel; a main version that does not follow a channel has the key ``pinned``."""
        versions = {channel_of(self.target): self.main, CHALLENGER: self.challenger, SHADOW: self.shadow}
        return {channel: version for channel, version in versions.items() if version is not None}


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


def channel_of(target: ModelRef) -> str:
    """Return the channel that a reference follows, or ``pinned``."""
    return PINNED if target.version else target.channel
