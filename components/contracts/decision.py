"""GateDecision: promote or reject, every rule in words a person can read."""

from typing import Literal

from pydantic import Field

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json


class Rule(FrozenModel):
    """One rule with what it asked, what was found and whether that is enough."""

    name: str
    threshold: float | None
    """None where the rule is not about a number."""
    value: Estimate | None
    passed: bool
    words: str
    """The rule, the value and the threshold as one sentence."""


class GateDecision(FrozenModel):
    """What a gate says of one bundle on one dataset."""

    format_version: Literal[1] = 1
    gate: Literal["trained", "served"]
    bundle: str
    """Fingerprint of the bundle that was judged."""
    dataset: str
    """Fingerprint of the dataset it was judged on."""
    champion: str | None = None
    """The version it was compared with."""
    rules: list[Rule] = Field(min_length=1)

    @property
    def passed(self) -> bool:
        """Every rule holds."""
        return all(rule.passed for rule in self.rules)

    @property
    def verdict(self) -> Literal["promote", "reject"]:
        """The decision as one word."""
        return "promote" if self.passed else "reject"

    @property
    def words(self) -> str:
        """The decision as a sentence: the rules that failed, or all of them when none did."""
        rules = self.rules if self.passed else [rule for rule in self.rules if not rule.passed]
        return f"{self.verdict}: {'; '.join(rule.words for rule in rules)}"

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> "GateDecision":
        """A decision from its JSON; ``where`` names it in errors.

        Raises:
            InputError: not a gate's decision.
        """
        return parse_json(cls, text, where, "a gate decision")
