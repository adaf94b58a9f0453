"""Rule of gate 2 that the bundle was not rolled back."""

from textgate.components.contracts import GateDecision, Rule
from textgate.components.storage import Registry
from textgate.components.storage.model_ref import VERSION_CHARACTERS


def reject_rolled_back(decision: GateDecision, registry: Registry, model: str) -> GateDecision:
    """Add a failed rule to a decision if its bundle was rolled back and is still blocked.

    Args:
        decision: Decision by all other rules.
        registry: Registry of the model.
        model: Name of the model.
    """
    block = registry.blocks(model).active(decision.bundle[:VERSION_CHARACTERS])
    if block is None:
        return decision
    rule = Rule(name="not_rolled_back", threshold=None, value=None, passed=False, message=block.message)
    return decision.with_rules([rule])
