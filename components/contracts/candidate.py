"""Candidate: one combination of a sweep, as select hands it to the report."""

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter


class Candidate(BaseModel):
    """One row of a sweep's table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any]
    """Swept key, such as ``train.C``, to its value."""
    validation_f1: float
    chosen: bool


Candidates = TypeAdapter(list[Candidate])
