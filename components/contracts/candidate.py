"""Candidate: one combination of a hyper-parameter sweep, the output of the step select."""

from typing import Any

from pydantic import AliasChoices, Field, TypeAdapter

from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.metric_names import METRIC_TITLES, GateMetric


class Candidate(FrozenModel):
    """One trained combination of a sweep."""

    settings: dict[str, Any]
    """Swept key, such as ``train.C``, to its value."""
    metric: GateMetric = "f1"
    """Metric that chooses, the recipe's ``gate.metric``; always F1 before 0.2."""
    score: float = Field(validation_alias=AliasChoices("score", "validation_f1"))
    """Value of the metric on the validation split; called ``validation_f1`` before 0.2."""
    chosen: bool
    """Whether this combination had the best score and was selected."""

    @property
    def title(self) -> str:
        """Name of the score, such as ``validation F1``."""
        return f"validation {METRIC_TITLES[self.metric]}"


Candidates = TypeAdapter(list[Candidate])
"""Parser and serializer of a JSON list of candidates."""
