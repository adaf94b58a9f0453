"""Candidate: one combination of a hyper-parameter sweep, the output of the step select."""

from typing import Any

from pydantic import TypeAdapter

from textgate.components.contracts.frozen_model import FrozenModel


class Candidate(FrozenModel):
    """One trained combination of a sweep."""

    settings: dict[str, Any]
    """Swept key, such as ``train.C``, to its value."""
    validation_f1: float
    """F1 on the validation split."""
    chosen: bool
    """Whether this combination had the best F1 and was selected."""


Candidates = TypeAdapter(list[Candidate])
"""Parser and serializer of a JSON list of candidates."""
