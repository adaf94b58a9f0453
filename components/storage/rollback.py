"""Rollback: an earlier version becomes champion again, and the version that it replaces is blocked."""

from textgate.components.contracts import ConflictError, InputError
from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.damage import skip_damaged
from textgate.components.storage.model_ref import CHAMPION, REFERENCE
from textgate.components.storage.reference import follow_reference
from textgate.components.storage.registry import Registry


def roll_back(
    registry: Registry,
    model: str,
    version: str | None = None,
    *,
    run: str,
    reason: str,
    replaced: str | None = None,
) -> ChannelUpdate:
    """Point the champion channel at an earlier champion and block the current one, also as reference.

    The block is written first: if the process dies in between, or another run moves the channel, no later run can
    promote the version that was to be rolled back. A rollback that was made already is not made again.

    Args:
        registry: Registry with the model.
        model: Name of the model.
        version: Version to point at; by default the last champion before the current one that is intact and not
            blocked.
        run: Run that makes the change.
        reason: Why, for the audit and for the decision of a later run that produces the same version.
        replaced: Version that must still be the champion; by default the champion when this function is called.

    Returns:
        The update of the rollback, which another process may have made.

    Raises:
        InputError: The reason is blank, the model has no champion or no earlier one, or the version does not exist,
            was never champion, or is blocked itself.
        DamagedError: The champion channel or the version is damaged.
        ConflictError: Another version than ``replaced`` is the champion.
    """
    if not reason.strip():
        raise InputError("a rollback needs a reason: the audit log and the decision of a later run quote it")
    registry.versions(model)  # raises if the model does not exist
    champion = registry.channel(model)
    if champion is None:
        raise InputError(f"the model {model} has no champion to roll back from")
    if (replaced or version) and _is_rollback(registry, champion, replaced, version):
        update = champion
    else:
        update = _replace(registry, champion, version, run=run, reason=reason.strip(), replaced=replaced)
    if REFERENCE in registry.channels(model):
        follow_reference(registry, model, run=run, reason=reason.strip())
    return update


def _replace(
    registry: Registry, champion: ChannelUpdate, version: str | None, *, run: str, reason: str, replaced: str | None
) -> ChannelUpdate:
    """Block the champion and point the channel at an earlier one; see ``roll_back``."""
    model, blocks = champion.model, registry.blocks(champion.model)
    if replaced and champion.version != replaced:
        raise ConflictError(
            f"the champion of {model} is {champion.version}, no longer {replaced}: look at textgate models history "
            f"{model} and, if it is to be rolled back too, name it with --from"
        )
    if version is None:
        version = _earlier_champion(registry, champion)
    elif version == champion.version:
        raise InputError(f"{version} is the champion of {model} already")
    else:
        _require_former_champion(registry, model, version)
        if block := blocks.active(version):
            raise InputError(block.message)
        registry.verify(model, version)
    blocks.add(champion.version, reason)
    try:
        return registry.update_channel(model, version, run=run, reason=reason, expected=champion.version)
    except ConflictError:
        moved = registry.channel(model)
        if moved is None or not _is_rollback(registry, moved, champion.version, version):
            raise
        return moved


def former_champions(registry: Registry, model: str) -> list[str]:
    """Return the versions that were champion before the current one, the last one first.

    The chain is walked as an undo history: an update without a decision of a gate, which a rollback or a repair makes,
    returns to the place of the version that it restores, and what was champion after that place is left out.
    """
    places: list[str] = []
    for update in _champion_updates(registry, model):
        # The entry of the version before it may be damaged.
        if update.previous and update.previous not in places:
            places.append(update.previous)
        if update.decision is None and update.version in places:
            del places[places.index(update.version) + 1 :]
        else:
            places.append(update.version)
    return list(dict.fromkeys(version for version in reversed(places[:-1]) if version != places[-1]))


def _champion_updates(registry: Registry, model: str) -> list[ChannelUpdate]:
    """Return the updates of the champion channel, oldest first."""
    return [update for update in reversed(registry.history(model)) if update.channel == CHAMPION]


def _earlier_champion(registry: Registry, champion: ChannelUpdate) -> str:
    """Return the last champion before the current one that is intact and not blocked."""
    model, blocks = champion.model, registry.blocks(champion.model)
    earlier = former_champions(registry, model)
    for version in earlier:
        with skip_damaged("the rollback goes on to the champion before it"):
            if blocks.active(version) is None:
                registry.verify(model, version)
                return version
    condition = " that is not blocked or damaged" if earlier or blocks.all() else ""
    raise InputError(
        f"{model} has had no champion before {champion.version}{condition}: name a later one that it has had with --to"
    )


def _require_former_champion(registry: Registry, model: str, version: str) -> None:
    """Raise InputError if a version does not exist or was never champion, such as one that lost a race."""
    registry.bundle(model, version)  # raises if the version does not exist
    updates = _champion_updates(registry, model)
    champions = {name for update in updates for name in (update.version, update.previous) if name}
    if version not in champions:
        raise InputError(
            f"{version} was never champion of {model}, so no rollback restores it: its run lost against another, or it "
            f"was only a challenger or shadow; champions: {', '.join(sorted(champions))}"
        )


def _is_rollback(registry: Registry, update: ChannelUpdate, replaced: str | None, version: str | None) -> bool:
    """Return whether an update is a rollback from ``replaced`` to ``version``; None stands for any."""
    return (
        update.decision is None
        and update.previous is not None
        and replaced in (None, update.previous)
        and version in (None, update.version)
        and registry.blocks(update.model).active(update.previous) is not None
    )
