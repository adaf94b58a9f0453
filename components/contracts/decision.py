"""GateDecision: promote or reject, with the result of every rule."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.metric_names import GateMetric
from textgate.components.contracts.parse import parse_json

IS_CHAMPION = "differs_from_champion"
"""Name of the rule that fails if the judged bundle is the champion already."""


class Rule(FrozenModel):
    """Result of one rule of a gate."""

    name: str
    """Name of the rule, such as ``min_f1``."""
    threshold: float | None
    """Value that was required; None if the rule does not compare a number."""
    value: Estimate | None
    """Value that was measured; None if the rule does not compare a number."""
    passed: bool
    """Whether the value meets the threshold."""
    message: str = Field(alias="words")
    """Rule, value and threshold as one sentence."""


class SplitUses(FrozenModel):
    """Earlier uses of the test texts of a judgement, by other candidates for the same model."""

    candidates: int
    """Number of other candidates that were judged on some of these texts."""
    full_uses: float
    """Sum of the shares of these texts that each of them was judged on."""
    corrected: float | None = None
    """Score corrected for the selection among these candidates; None at gate 1."""

    @property
    def message(self) -> str:
        """Number of uses and corrected score as one sentence."""
        if not self.candidates:
            return "no other candidate was judged on these test texts before"
        others = "1 other candidate was" if self.candidates == 1 else f"{self.candidates:,} other candidates were"
        uses = "full use" if f"{self.full_uses:.1f}" == "1.0" else "full uses"
        counted = f"{others} judged on these test texts before, worth {self.full_uses:,.1f} {uses}"
        return counted if self.corrected is None else f"{counted}; corrected for selection: {self.corrected:.4f}"


class JudgedScore(FrozenModel):
    """Score of the judged model in ``gate.metric`` on the test split, with the scores that give it a scale."""

    metric: GateMetric
    """Name of the metric."""
    title: str
    """Name of the metric in a sentence with the class that it is about, such as ``F1 of 'spam'``."""
    value: Estimate
    """Value on the test split."""
    rows: int
    """Number of texts of the test split."""
    constant_label: str
    """Label whose constant prediction has the highest value."""
    constant: float
    """Value of always predicting ``constant_label``."""
    baseline: Estimate | None = None
    """Value of TF-IDF + logistic regression; None if it was not computed."""
    validation: float | None = None
    """Value of the trained model on the validation split, by the most probable label; None if it is not known for this
    metric."""
    gap: Estimate | None = Field(default=None, exclude_if=lambda gap: gap is None)
    """``validation`` minus the value of the trained model on the test split, by the most probable label too, for two
    independent samples; None if it is not known."""
    uses: SplitUses | None = Field(default=None, exclude_if=lambda uses: uses is None)
    """Earlier uses of the test texts; None if it is not known, as for datasets before 0.2."""

    @property
    def gap_is_large(self) -> bool:
        """Whether the gap is larger than chance explains: its 95 % interval does not contain 0."""
        return self.gap is not None and not self.gap.withheld and not self.gap.low <= 0 <= self.gap.high

    @property
    def gap_message(self) -> str | None:
        """The gap as a sentence; None if it is not known."""
        if self.gap is None or self.validation is None:
            return None
        gap, test = self.gap, self.validation - self.gap.value
        interval = f"no interval: {gap.withheld}" if gap.withheld else f"{gap.low:+.4f}, {gap.high:+.4f}"
        return (
            f"the trained model has {self.title} {self.validation:.4f} on the validation split and {test:.4f} on the "
            f"test split: the gap of {gap.value:+.4f} [{interval}] "
            f"{'is larger than chance explains' if self.gap_is_large else 'may be chance'}"
        )


class NextReference(FrozenModel):
    """Reference after a promotion: the champion that no later one was shown to be better than."""

    version: str
    """Its version in the registry."""
    message: str
    """Why it is this one, as one sentence."""


class GateDecision(FrozenModel):
    """Decision of a gate on one bundle and one dataset."""

    format_version: Literal[1] = 1
    """Version of the format."""
    gate: Literal["trained", "served"]
    """Gate 1 judges the trained model, gate 2 the served one."""
    bundle: str
    """Fingerprint of the judged bundle."""
    dataset: str
    """Fingerprint of the dataset."""
    champion: str | None = None
    """Version of the champion that the bundle was compared with; None if there was none."""
    score: JudgedScore | None = Field(default=None, exclude_if=lambda score: score is None)
    """Score in the metric of the gate; None in decisions before 0.2."""
    reference: NextReference | None = Field(default=None, exclude_if=lambda reference: reference is None)
    """Reference after a promotion; None for gate 1, for a bundle that is the champion or has other labels, and in
    decisions before 0.2."""
    changes: list[str] = Field(default=[], exclude_if=lambda changes: not changes)
    """Values of the recipe that the inputs of the pipeline changed, such as ``gate.min_f1 0.5 instead of 0.8``."""
    rules: list[Rule] = Field(min_length=1)
    """Results of all rules, in the order they were checked."""

    def with_rules(self, rules: Iterable[Rule]) -> "GateDecision":
        """Return the decision with further rules at the end."""
        return self.model_copy(update={"rules": [*self.rules, *rules]})

    def with_changes(self, changes: Iterable[str]) -> "GateDecision":
        """Return the decision with the values of the recipe that were changed for its run."""
        return self.model_copy(update={"changes": list(changes)})

    @property
    def passed(self) -> bool:
        """Whether every rule passed."""
        return all(rule.passed for rule in self.rules)

    @property
    def unchanged(self) -> bool:
        """Whether nothing speaks against the bundle except that it is the champion already."""
        return [rule.name for rule in self.rules if not rule.passed] == [IS_CHAMPION]

    @property
    def verdict(self) -> Literal["promote", "unchanged", "reject"]:
        """Decision as one word."""
        return "promote" if self.passed else "unchanged" if self.unchanged else "reject"

    @property
    def message(self) -> str:
        """Decision as a sentence with the messages of the rules that failed, or of all rules if none did.

        A gap to the validation split that is larger than chance explains is at the end, and then the values that were
        changed for this run.
        """
        rules = self.rules if self.passed else [rule for rule in self.rules if not rule.passed]
        messages = [rule.message for rule in rules]
        if self.score and self.score.gap_is_large and self.score.gap_message:
            messages.append(self.score.gap_message)
        if self.changes:
            messages.append(f"changed for this run: {', '.join(self.changes)}")
        return f"{self.verdict}: {'; '.join(messages)}"

    @property
    def test_f1(self) -> float | None:
        """F1 on the test split; None if no rule measured it."""
        if self.score and self.score.metric == "f1":
            return self.score.value.value
        return next((rule.value.value for rule in self.rules if rule.name == "min_f1" and rule.value), None)

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "GateDecision":
        """Parse the JSON of a decision; ``where`` names it in error messages.

        Raises:
            InputError: The text is not a gate decision.
        """
        return parse_json(cls, text, where, "a gate decision")
