"""Record of a change of a registry channel, as stored in the channel and in the audit."""

from textgate.components.contracts import GateDecision
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.model_ref import CHAMPION, REFERENCE


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

    @property
    def audit_key(self) -> str:
        """Key of the audit entry."""
        return f"models/{self.model}/audit/{self.time.replace(':', '')}-{self.run}.json"

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
