"""Versions of a model: one that is loaded, and those that serve."""

import math
import sys
from dataclasses import dataclass, replace
from typing import Literal

from textgate.components.inference import LoadedBundle
from textgate.components.inference.predictor import characters_read
from textgate.components.storage import ModelRef

CHALLENGER, SHADOW, PINNED = "challenger", "shadow", "pinned"
_TEXT_OVERHEAD = 16
"""Cost of a text in addition to its bytes, in bytes: special tokens and handling."""
_BYTES_PER_TOKEN = 8
"""Most bytes of UTF-8 that are counted for each token that the model reads."""
_TOKENIZED_PER_BYTE = 8
"""Characters that are tokenized, but not read by the model, in the time of one byte that it reads (MiniLM)."""
_SMOOTHING = 0.8
"""Weight of the previous estimate in the moving average of the processing time."""
_MAX_CHANGE = 4.0
"""Factor within which one measurement counts, so that an odd batch does not spoil the moving average."""


Role = Literal["main", "challenger", "shadow"]
"""What a version is for a model."""


@dataclass(frozen=True)
class TrafficSplit:
    """Shares of the requests (0 to 1) for the versions other than the main one."""

    challenger_share: float = 0.0
    """Share that the challenger answers."""
    shadow_share: float = 0.0
    """Share that the shadow answers in addition to the main version, for comparison only."""

    @property
    def roles(self) -> list[Role]:
        """Roles that are served, the main one first."""
        shares: dict[Role, float] = {"main": 1, "challenger": self.challenger_share, "shadow": self.shadow_share}
        return [role for role, share in shares.items() if share > 0]


@dataclass(eq=False)
class ServedVersion:
    """Version of a model that is loaded and warmed up."""

    model: str
    version: str
    loaded: LoadedBundle
    """The bundle, predicting on one thread."""
    parallel: LoadedBundle
    """The bundle, predicting on all threads."""
    test_f1: float | None = None
    """F1 on the test split, from the decision that promoted the version; None if it is unknown, as after a rollback."""
    seconds_per_cost: float = 0.0
    """Moving average of one thread's processing time for a unit of cost."""
    timings: int = 0
    """Number of measurements in the moving average."""
    last_failure_log: float = -math.inf
    """Time of the last log line about a failure (``time.monotonic``)."""

    def __post_init__(self) -> None:
        max_tokens = self.loaded.bundle.max_tokens
        self._max_bytes = (max_tokens or sys.maxsize) * _BYTES_PER_TOKEN
        self._max_characters = characters_read(max_tokens) if max_tokens else sys.maxsize

    def cost(self, text: str) -> int:
        """Return the estimated cost of a text in bytes of UTF-8 that the model reads.

        Bytes and not characters, because a CJK character or an emoji has 3 to 4 bytes and about as many times the
        tokens of an ASCII character. What the model truncates costs only its tokenization.
        """
        size = len(text)
        if size < self._max_bytes and not text.isascii():
            size = len(text.encode("utf-8", "surrogatepass"))
        truncated = max(0, min(len(text), self._max_characters) - self._max_bytes)
        return _TEXT_OVERHEAD + min(size, self._max_bytes) + truncated // _TOKENIZED_PER_BYTE

    def record_timing(self, seconds: float, cost: int) -> None:
        """Update the moving average with the time that one thread took for a batch on which nothing failed."""
        latest, previous = seconds / cost, self.seconds_per_cost
        if previous:
            latest = min(max(latest, previous / _MAX_CHANGE), previous * _MAX_CHANGE)
            latest = _SMOOTHING * previous + (1 - _SMOOTHING) * latest
        self.seconds_per_cost = latest
        self.timings += 1


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

    def with_version(self, role: Literal["challenger", "shadow"], version: ServedVersion | None) -> "ServedModel":
        """Return these versions with another challenger or shadow."""
        return replace(self, challenger=version) if role == "challenger" else replace(self, shadow=version)


def channel_of(target: ModelRef) -> str:
    """Return the channel that a reference follows, or ``pinned``."""
    return PINNED if target.version else target.channel
