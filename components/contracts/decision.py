"""GateDecision: promote or reject, with the result of every rule."""

from typing import Literal

from pydantic import Field

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json


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
    rules: list[Rule] = Field(min_length=1)
    """Results of all rules, in the order they were checked."""

    @property
    def passed(self) -> bool:
        """Whether every rule passed."""
        return all(rule.passed for rule in self.rules)

    @property
    def verdict(self) -> Literal["promote", "reject"]:
        """Decision as one word."""
        return "promote" if self.passed else "reject"

    @property
    def message(self) -> str:
        """Decision as a sentence with the messages of the rules that failed, or of all rules if none did."""
        rules = self.rules if self.passed else [rule for rule in self.rules if not rule.passed]
        return f"{self.verdict}: {'; '.join(rule.message for rule in rules)}"

    @property
    def test_f1(self) -> float | None:
        """F1 on the test split; None if no rule measured it."""
        return next((rule.value.value for rule in self.rules if rule.name == "min_f1" and rule.value), None)

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "GateDecision":
        """Parse the JSON of a decision; ``where`` names it in error messages.

        Raises:
            InputError: The text is not a gate decision.
        """
        return parse_json(cls, text, where, "a gate decision")
