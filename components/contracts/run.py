"""RunRecord: what a run came to, written to the store by the exit handler whatever happened."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from textgate.components.contracts.decision import GateDecision


class Promotion(BaseModel):
    """A version that became champion."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    version: str
    previous: str | None
    """The champion before, if there was one."""


class RunRecord(BaseModel):
    """``runs/<run>/record.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
