"""The model that gate 2 compares with: the champion or, if it is damaged, the last champion before it that is intact.

A damaged champion must not block its replacement, because no server can load it. It must not lower the bar either: the
comparison then is with the last champion before it that can be read, or with the reference. Only a DamagedError counts
as damage: the store returned something else than was written, twice. An outage of the store ends the step.
"""

from collections.abc import Callable
from typing import NamedTuple

from textgate.components.contracts import DamagedError, GateDecision, Rule
from textgate.components.gate.champion_rules import Champion
from textgate.components.storage import CHAMPION, Registry, former_champions, reference_version, repaired_channel
from textgate.components.storage.damage import skip_damaged


class CurrentChampion(NamedTuple):
    """The champion that a promotion would replace, and the model to compare with."""

    version: str | None
    """Version that the channel points at; None if there is no champion, or its channel is damaged beyond repair."""
    compared: Champion | None
    """The champion or the one that stands in for it; None if there is none."""
    damage: str | None = None
    """Why the champion cannot be read; None if it can."""

    def state_damage(self, decision: GateDecision) -> GateDecision:
        """Return the decision for a promotion that replaces the champion, with a rule that says if it is damaged."""
        if self.damage is None:
            return decision
        instead = (
            f"the model is compared with the champion {self.compared.version} before it"
            if self.compared
            else "no champion before it can be compared with, so that only the other rules judge the model"
        )
        message = f"the champion is damaged and may be replaced ({self.damage}); {instead}"
        rule = Rule(name="champion_damaged", threshold=None, value=None, passed=True, message=message)
        return decision.with_rules([rule]).model_copy(update={"champion": self.version})


def current_champion(
    registry: Registry, model: str, run: str, bundle: str, load: Callable[[str], Champion]
) -> CurrentChampion:
    """Return the champion of a model, or what stands in for a damaged one.

    A champion channel that cannot be read is rebuilt from the audit log first.

    Args:
        registry: Registry with the model.
        model: Name of the model.
        run: Run that judges, for the audit log.
        bundle: Fingerprint of the judged bundle. It is not compared with itself.
        load: Function that returns a version of the model with its predictions for the evaluated texts.

    Raises:
        StoreError: The store does not answer.
    """
    update = repaired_channel(registry, model, run=run)
    if update is None:
        lost = CHAMPION in registry.channel_log(model).names()
        damage = f"the {CHAMPION} channel of {model} cannot be read, and the audit log names no intact version"
        version, earlier = None, []
    else:
        try:
            return CurrentChampion(update.version, _load(registry, model, update.version, load))
        except DamagedError as error:
            lost, damage, version = True, str(error), update.version
        earlier = former_champions(registry, model)
    if not lost:
        return CurrentChampion(None, None)
    reference = reference_version(registry, model)
    for candidate in dict.fromkeys([*earlier, *([reference] if reference else [])]):
        if candidate != version and not bundle.startswith(candidate) and not registry.blocks(model).active(candidate):
            with skip_damaged("it is not compared with"):
                return CurrentChampion(version, _load(registry, model, candidate, load), damage)
    return CurrentChampion(version, None, damage)


def _load(registry: Registry, model: str, version: str, load: Callable[[str], Champion]) -> Champion:
    """Load a version; the registry itself reads twice what looks damaged.

    Raises:
        DamagedError: The version is damaged, or has no manifest.
    """
    if version not in registry.versions(model):
        raise DamagedError(f"the model {model} has no complete version {version}")
    return load(version)
