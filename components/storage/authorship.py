"""Who changed the registry, when and why."""

import getpass
from datetime import UTC, datetime

from textgate.components.contracts.frozen_model import FrozenModel


class Authorship(FrozenModel):
    """Author, time and reason of a change."""

    actor: str
    """Name of the user."""
    time: str
    """UTC, ISO 8601 with microseconds."""
    reason: str

    @classmethod
    def now(cls, reason: str) -> "Authorship":
        """Return the authorship of a change that is made now by the user of this process."""
        return cls(actor=_user(), time=datetime.now(UTC).isoformat(timespec="microseconds"), reason=reason)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"
