"""References to models in a registry: ``model``, ``model@channel`` or ``model@version``."""

import re
from dataclasses import dataclass

from textgate.components.contracts import InputError

CHAMPION = "champion"
REFERENCE = "reference"
"""Channel of the champion that no later one was shown to be better than."""
VERSION_CHARACTERS = 12
"""Length of a version: the first characters of the bundle's fingerprint."""
_VERSION = re.compile(rf"[0-9a-f]{{{VERSION_CHARACTERS}}}")


@dataclass(frozen=True)
class ModelRef:
    """Reference to a model: whatever a channel points at, or a fixed version."""

    model: str
    channel: str = CHAMPION
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Parse ``model``, ``model@channel`` or ``model@version``.

        Raises:
            InputError: The text has another form.
        """
        model, at, rest = text.partition("@")
        if not model or (at and not rest):
            raise InputError(f"{text!r} names no model: write MODEL, MODEL@channel or MODEL@version")
        return cls(model, version=rest) if _VERSION.fullmatch(rest) else cls(model, rest or CHAMPION)
