"""Repair: rebuild a channel that cannot be read from the audit log."""

from textgate.components.contracts import ConflictError, DamagedError, InputError
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.damage import skip_damaged
from textgate.components.storage.errors import AccessDeniedError
from textgate.components.storage.model_ref import CHAMPION, REFERENCE
from textgate.components.storage.registry import Registry


class Repair(FrozenModel):
    """Repair of one channel, done or planned."""

    channel: str
    damage: str | None
    """Why the channel cannot be read; None if it can, so that there is nothing to repair."""
    version: str | None
    """Version that the channel points at after the repair; None if the audit log names none that it could."""
    passed_over: list[str]
    """Why the channel does not point at later versions of the audit log."""
    version_damage: str | None = None
    """Why the version that an intact channel points at cannot be read; None if it can."""

    @property
    def complete(self) -> bool:
        """Whether the channel points at an intact version after the repair."""
        return self.version is not None and self.version_damage is None

    @property
    def message(self) -> str:
        """What was found and what is done about it."""
        if self.version_damage:
            return (
                f"{self.channel} can be read, but points at {self.version}, which is damaged ({self.version_damage}): "
                "point it at another version, the champion with textgate models rollback"
            )
        if self.damage is None:
            return f"{self.channel} is intact and points at {self.version}"
        rebuilt = f"rebuilt from the audit log to point at {self.version}" if self.version else "left as it is"
        reasons = "".join(f"; {reason}" for reason in self.passed_over)
        return f"{self.channel} {rebuilt}, because {self.damage}{reasons}"


def plan_repair(registry: Registry, model: str, channel: str) -> Repair:
    """Return how a channel would be repaired.

    It would point at the version of its last update in the audit log that is intact and, for champion and reference,
    not blocked.

    Raises:
        InputError: The model or the channel does not exist.
    """
    try:
        update = registry.channel(model, channel)
    except DamagedError as error:
        damage = str(error.__cause__ or error)
    else:
        if update is None:
            registry.versions(model)  # raises if the model does not exist
            raise InputError(f"the model {model} has no {channel}: there is nothing to repair")
        damaged = None
        try:
            registry.verify(model, update.version)
        except DamagedError as error:
            damaged = str(error)
        return Repair(channel=channel, damage=None, version=update.version, passed_over=[], version_damage=damaged)
    passed_over: dict[str, str] = {}
    for update in registry.history(model):
        version = update.version
        if update.channel != channel or version in passed_over:
            continue
        block = registry.blocks(model).active(version) if channel in (CHAMPION, REFERENCE) else None
        try:
            if block is None:
                registry.verify(model, version)
                return Repair(channel=channel, damage=damage, version=version, passed_over=list(passed_over.values()))
            passed_over[version] = block.message
        except DamagedError as error:
            passed_over[version] = str(error)
    passed_over.setdefault("", "the audit log names no version that it could point at")
    return Repair(channel=channel, damage=damage, version=None, passed_over=list(passed_over.values()))


def repair_channel(registry: Registry, model: str, channel: str, *, run: str) -> Repair:
    """Rebuild a channel if it cannot be read, as ``plan_repair`` says; the audit log says so.

    Args:
        registry: Registry with the model.
        model: Name of the model.
        channel: Name of the channel.
        run: Run that makes the change.

    Raises:
        InputError: The model or the channel does not exist.
        ConflictError: Another run has moved or repaired the channel at the same time.
    """
    repair = plan_repair(registry, model, channel)
    if repair.damage and repair.version:
        registry.update_channel(model, repair.version, run=run, reason=repair.message, expected=None, channel=channel)
    return repair


def repaired_channel(registry: Registry, model: str, channel: str = CHAMPION, *, run: str) -> ChannelUpdate | None:
    """Return the last update of a channel, which is repaired first if it cannot be read.

    Returns:
        None if the model or the channel does not exist, or cannot be read and not be repaired; ``update_channel``
        replaces it then. Without the right to repair it, which only promote has, the update that it would be rebuilt
        from.
    """
    with skip_damaged("it is repaired"):
        return registry.channel(model, channel)
    try:
        repair = repair_channel(registry, model, channel, run=run)
    except ConflictError:
        return registry.channel(model, channel)
    except AccessDeniedError:
        version = plan_repair(registry, model, channel).version
        updates = (update for update in registry.history(model) if update.channel == channel)
        return next((update for update in updates if update.version == version), None)
    return registry.channel(model, channel) if repair.version else None
