"""RunRecord: result of a pipeline run, written to the store by the exit handler even if the run failed."""

from typing import Any, Literal

from pydantic import Field

from textgate.components.contracts.decision import GateDecision
from textgate.components.contracts.frozen_model import FrozenModel


class Promotion(FrozenModel):
    """Promotion of a version to champion."""

    model: str
    """Name of the model in the registry."""
    version: str
    """Version that became champion."""
    previous: str | None
    """Version of the previous champion; None if there was none."""


class RunRecord(FrozenModel):
    """Content of ``runs/<run>/record.json``."""

    format_version: Literal[1] = 1
    """Version of the format."""
    run: str
    """Identifier of the run."""
    recipe: dict[str, Any]
    """Recipe with all overrides and inputs of the pipeline applied."""
    changes: list[str] = Field(default=[], exclude_if=lambda changes: not changes)
    """Values that the inputs of the pipeline changed, such as ``gate.min_f1 0.5 instead of 0.8``."""
    source_version: str = ""
    """Version of the source at the start of the run, such as its ETag or revision; empty if it is not known."""
    state: str
    """State of the run in Kubeflow Pipelines, such as SUCCEEDED or FAILED."""
    error: str | None
    """Reason of the failure; None if the run succeeded."""
    decisions: list[GateDecision]
    """Decisions of the gates that were reached, in order."""
    promotion: Promotion | None
    """Promotion that resulted from the run; None if the champion did not change."""
    finished: str
    """Time of the end in UTC, ISO 8601."""
