"""Candidate: one combination of a sweep, as select hands it to the report."""

from typing import Any

from pydantic import TypeAdapter

from textgate.components.contracts.frozen_model import FrozenModel


class Candidate(FrozenModel):
    """One row of a sweep's table."""

    settings: dict[str, Any]
    """Swept key, such as ``train.C``, to its value."""
    validation_f1: float
    chosen: bool


Candidates = TypeAdapter(list[Candidate])
