"""Comparison: several systems on the same splits, the output of the step compare.

The validation split chooses the winner and judges the differences. The test split only reports: the best of several
systems on one split has a score that is too high, so that it could not pass a gate on the same texts fairly.

The step reads one folder per system that did not fail:

<folder>/exported           bundle that would be served
<folder>/trained, served    evaluations of the trained and of the served bundle on the test split
<folder>/validation         evaluation of the served bundle on the validation split
<folder>/measurements.json  accuracy and cost of every export target (Measurements)
<folder>/merge.json         changes from merging the adapter (MergeResult)
"""

from typing import Literal

from pydantic import Field

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.contracts.training_cost import TrainingCost

EXPORTED, TRAINED, SERVED, VALIDATION = "exported", "trained", "served", "validation"
MEASUREMENTS, MERGE = "measurements.json", "merge.json"


class CostLimits(FrozenModel):
    """Limits on the serving cost of the winner."""

    max_latency_ms: float | None = Field(default=None, gt=0)
    """Median latency of one text, in milliseconds."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Size of the files that prediction needs, in 10^6 bytes."""


class SystemMetrics(FrozenModel):
    """Scores and costs of the form of a system that would be served."""

    target: str
    """Export target that would be served, or ``linear``."""
    validation_f1: Estimate | None = None
    """F1 on the validation split, by which the winner is chosen; None before 0.2, when it was chosen by ``f1``."""
    f1: Estimate
    """F1 on the test split."""
    accuracy: Estimate
    """Accuracy on the test split."""
    latency_ms: float
    """Median latency of single texts of the test split, in milliseconds."""
    texts_per_second: float
    """Throughput in batches of 32."""
    bytes: int
    """Size of the files that prediction needs."""
    memory: int
    """Peak resident memory during prediction, in bytes."""
    training: TrainingCost
    """Cost of the training; that of an ensemble says what its members took."""
    within_limits: bool
    """Whether latency and size are within the limits of the comparison."""
    on_latency_front: bool
    """Whether it is on the Pareto front of ``choice_f1`` and latency: no other system is at least as good in both and
    better in one."""
    on_training_front: bool
    """Whether it is on the Pareto front of ``choice_f1`` and training time, that of the members included. Never if that
    of a member is unknown."""
    letters: str
    """Compact letter display: two systems differ significantly exactly if they share no letter."""

    @property
    def choice_f1(self) -> Estimate:
        """F1 by which the winner is chosen."""
        return self.validation_f1 or self.f1


class ComparedSystem(FrozenModel):
    """One row of a comparison: a recipe with its metrics, or with the reason why it failed."""

    recipe: str
    """Name of the recipe."""
    family: str
    """Model family, such as ``transformer``."""
    failed: str | None = None
    """Reason of the failure as a sentence; None if the system was measured."""
    metrics: SystemMetrics | None = Field(default=None, alias="measured")
    """Scores and costs; None if the system failed."""


class SystemPair(FrozenModel):
    """Significance test of two systems on the same texts."""

    first: str
    """Recipe of the first system."""
    second: str
    """Recipe of the second system."""
    f1_difference: Estimate
    """F1 of the first minus F1 of the second; the interval is not corrected for the number of pairs."""
    p_value: float
    """Two-sided p-value of the null hypothesis of equal F1, by approximate randomization."""
    p_holm: float
    """p-value corrected for the number of pairs (Holm)."""
    significant: bool
    """Whether the corrected p-value is below the significance level."""


class Comparison(FrozenModel):
    """Content of ``comparison.json``."""

    format_version: Literal[1] = 1
    """Version of the format."""
    dataset: str
    """Fingerprint of the dataset."""
    labels: list[str]
    """Label names in class order."""
    rows: int
    """Rows of the test split."""
    validation_rows: int | None = None
    """Rows of the validation split, on which the winner is chosen; None before 0.2, when it was the test split."""
    limits: CostLimits
    """Limits that the winner had to keep."""
    systems: list[ComparedSystem]
    """Systems by descending ``choice_f1``; failed systems come last."""
    pairs: list[SystemPair]
    """All pairs, in the order of the systems."""
    winner: str | None
    """Recipe with the highest ``choice_f1`` within the limits; None if there is none."""
    as_good: list[str]
    """Other recipes within the limits that are not significantly worse than the winner."""
    message: str = Field(alias="words")
    """The winner and the reason, or the reason why there is no winner, as a sentence."""

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "Comparison":
        """Parse the JSON of a comparison; ``where`` names it in error messages.

        Raises:
            InputError: The text is not a comparison.
        """
        return parse_json(cls, text, where, "a comparison")
