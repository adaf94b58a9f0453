"""RunRecord: what a run came to, written to the store by the exit handler whatever happened."""

from typing import Any, Literal

from textgate.components.contracts.decision import GateDecision
from textgate.components.contracts.frozen_model import FrozenModel


class Promotion(FrozenModel):
    """A version that became champion."""

    model: str
    version: str
    previous: str | None
    """The champion before, if there was one."""


class RunRecord(FrozenModel):
    """``runs/<run>/record.json``."""

    format_version: Literal[1] = 1
    run: str
    recipe: dict[str, Any]
    source_version: str = ""
    """What stood behind the source's URI when the run was started; empty where nobody said."""
    state: str
    """The pipeline's own word: SUCCEEDED, FAILED, …"""
    error: str | None
    decisions: list[GateDecision]
    promotion: Promotion | None
    finished: str
    """UTC, ISO 8601."""
