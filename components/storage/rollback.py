"""Rollback: an earlier version becomes champion again, and the version that it replaces is blocked."""

from textgate.components.contracts import InputError
from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.model_ref import CHAMPION, REFERENCE
from textgate.components.storage.reference import follow_reference
from textgate.components.storage.registry import Registry


def roll_back(registry: Registry, model: str, version: str | None = None, *, run: str, reason: str) -> ChannelUpdate:
    """Point the champion channel at an earlier version and block the current champion, also as reference.

    The block is written first: if the process dies in between, or another run moves the channel, no later run can
    promote the version that was to be rolled back.

    Args:
        registry: Registry with the model.
        model: Name of the model.
        version: Version to point at; by default the last champion before the current one that is not blocked.
        run: Run that makes the change.
        reason: Why, for the audit and for the decision of a later run that produces the same version.

    Raises:
        InputError: The reason is blank, the model has no champion or no earlier one, or the version does not exist
            or is blocked itself.
    """
    if not reason.strip():
        raise InputError("a rollback needs a reason: the audit log and the decision of a later run quote it")
    registry.versions(model)  # raises if the model does not exist
    champion = registry.channel(model)
    if champion is None:
        raise InputError(f"the model {model} has no champion to roll back from")
    version = version or _earlier_champion(registry, champion)
    if version == champion.version:
        raise InputError(f"{version} is the champion of {model} already")
    registry.bundle(model, version)  # raises if the version does not exist
    blocks = registry.blocks(model)
    if block := blocks.active(version):
        raise InputError(block.message)
    blocks.add(champion.version, reason.strip())
    update = registry.update_channel(model, version, run=run, reason=reason.strip(), expected=champion.version)
    if registry.channel(model, REFERENCE):
        follow_reference(registry, model, run=run, reason=reason.strip())
    return update


def _earlier_champion(registry: Registry, champion: ChannelUpdate) -> str:
    """Return the last version that was champion before the current one and is not blocked."""
    blocked = {block.version for block in registry.blocks(champion.model).all() if not block.lifted}
    earlier = [update.version for update in registry.history(champion.model) if update.channel == CHAMPION]
    for version in (champion.previous, *earlier):
        if version and version not in (champion.version, *blocked):
            return version
    condition = " that is not blocked" if blocked else ""
    raise InputError(
        f"{champion.model} has had no champion before {champion.version}{condition}: name one of its versions with --to"
    )
