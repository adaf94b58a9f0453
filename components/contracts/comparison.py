"""Comparison: systems on one split, as compare hands it to people.

One JSON file, ``Comparison``. What it is made of is a folder a system, which one that failed does not leave:

<folder>/exported           the bundle that would be served
<folder>/trained, served    evaluations of the bundle as trained and as served
<folder>/measurements.json  what every target of its export keeps and costs
<folder>/merge.json         what merging its adapter changed
"""

from typing import Literal

from pydantic import Field

from textgate.components.contracts.evaluation import Estimate, TrainingCost
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json

EXPORTED, TRAINED, SERVED = "exported", "trained", "served"
MEASUREMENTS, MERGE = "measurements.json", "merge.json"


class Limits(FrozenModel):
    """What the winner may cost to serve."""

    max_latency_ms: float | None = Field(default=None, gt=0)
    """Of one text."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Of the files it needs to answer, in 10^6 bytes."""


class SystemMetrics(FrozenModel):
    """What a system reached as it would be served, and what it costs."""

    target: str
    """What of it would be served: a target of its export, or ``linear``."""
    f1: Estimate
    accuracy: Estimate
    latency_ms: float
    """Median over texts of the test split, each asked about alone."""
    texts_per_second: float
    """In batches of 32."""
    bytes: int
    """Of the files it needs to answer."""
    memory: int
    """Bytes resident at most while it answers."""
    training: TrainingCost
    within_limits: bool
    on_latency_front: bool
    """No other has as high an F1 and answers as fast, and is better in one of the two."""
    on_training_front: bool
    """No other has as high an F1 and is trained as fast, and is better in one of the two."""
    letters: str
    """Two systems that share a letter do not differ significantly; all others do."""


class System(FrozenModel):
    """One row: what became of a recipe."""

    recipe: str
    family: str
    failed: str | None = None
    """Why, as a sentence."""
    measured: SystemMetrics | None = None
    """None where it failed."""


class Pair(FrozenModel):
    """Two systems on the same texts."""

    first: str
    second: str
    f1_difference: Estimate
    """F1 of the first less F1 of the second; its interval is that of this pair alone."""
    p_value: float
    """Two-sided, approximate randomisation."""
    p_holm: float
    """Corrected for the number of pairs."""
    significant: bool


class Comparison(FrozenModel):
    """``comparison.json``."""

    format_version: Literal[1] = 1
    dataset: str
    """Fingerprint."""
    labels: list[str]
    rows: int
    """Of the test split."""
    limits: Limits
    systems: list[System]
    """By F1, the highest first; those that failed come last."""
    pairs: list[Pair]
    """Each with each, in the order of the systems."""
    winner: str | None
    """The highest F1 within the limits."""
    as_good: list[str]
    """Others within the limits that are not significantly worse than the winner."""
    words: str
    """Who won and why, or why nobody did, as a sentence."""

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "Comparison":
        """A comparison from its JSON; ``where`` names it in errors.

        Raises:
            InputError: not a comparison.
        """
        return parse_json(cls, text, where, "a comparison")
