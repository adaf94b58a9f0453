"""Record of a change of a registry channel, as stored in the channel and in the audit.

Updates are ordered by the chain that they form, never by the clocks of those who made them. The sequence number is a
Lamport timestamp (Lamport, Time, Clocks, and the Ordering of Events in a Distributed System, CACM 21, 1978): one more
than that of every update, of all channels of the model, that its author could read. Compare-and-swap makes it unique in
a channel, and an update of one channel that was made in view of another channel's is the later one.
"""

from pydantic import Field

from textgate.components.contracts import GateDecision
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.model_ref import CHAMPION, REFERENCE

_SEQUENCE_DIGITS = 8


class ChannelUpdate(FrozenModel):
    """Record of one change of a channel."""

    model: str
    channel: str
    version: str
    previous: str | None
    """Version that the channel pointed at before."""
    run: str
    """Run that made the change."""
    actor: str
    """Name of the user."""
    reason: str
    time: str
    """UTC, ISO 8601 with microseconds."""
    decision: GateDecision | None = None
    """Decision of the gate on which the change rests."""
    sequence: int = Field(default=0, ge=0, exclude_if=lambda sequence: sequence == 0)
    """Position among the model's updates; a pointer with a lower one than was seen before is stale. 0 for updates of
    textgate 0.1, which are older than all others and ordered by time."""
    after: str | None = Field(default=None, exclude_if=lambda after: after is None)
    """Key of the audit entry of the channel's update before this one; None for the first one and for updates of
    textgate 0.1."""

    @property
    def audit_key(self) -> str:
        """Key of the audit entry."""
        position = (
            f"{self.sequence:0{_SEQUENCE_DIGITS}d}-{self.channel}" if self.sequence else self.time.replace(":", "")
        )
        return f"models/{self.model}/audit/{position}-{self.run}.json"

    @property
    def order(self) -> tuple[int, str, str]:
        """Sort key of the updates of a model, the oldest first."""
        return self.sequence, "" if self.sequence else self.time, self.channel

    @property
    def reference(self) -> str | None:
        """Version that this update, or the decision to promote a champion, names as reference; None if neither does."""
        if self.channel == CHAMPION and self.decision and self.decision.reference:
            return self.decision.reference.version
        return self.version if self.channel == REFERENCE else None

    @classmethod
    def parse(cls, text: bytes, where: str) -> "ChannelUpdate":
        """Parse JSON.

        Args:
            text: The JSON.
            where: Name of the object in error messages.

        Raises:
            InputError: The JSON is not a channel update.
        """
        return parse_json(cls, text, where, "a channel update")


def sequence_of(audit_key: str) -> int:
    """Return the sequence number in the key of an audit entry, which may be damaged; 0 for textgate 0.1."""
    number = audit_key.rpartition("/")[2].partition("-")[0]
    return int(number) if len(number) == _SEQUENCE_DIGITS and number.isdecimal() else 0
