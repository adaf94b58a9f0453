"""The reference of a model: the champion that no later one was shown to be better than.

The decision that promotes a champion names the reference, so one atomic write of the channel ``champion`` sets both.
The channel ``reference`` follows; people and servers read it, and it can be moved by hand. If a process dies before it
moves the channel, ``reference_version`` still returns the right version, and the next promotion moves the channel.
"""

from collections.abc import Iterator

from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.model_ref import CHAMPION, REFERENCE
from textgate.components.storage.registry import Registry
from textgate.components.storage.repair import repaired_channel


def reference_version(registry: Registry, model: str) -> str | None:
    """Return the version of the reference: the last one that was named and is not blocked.

    Without one, as in a registry of an earlier version of textgate, it is the champion; None if there is none.
    """
    channels = registry.channels(model)
    current = [channels[channel] for channel in (CHAMPION, REFERENCE) if channel in channels]
    if not current:
        return None
    blocked = {block.version for block in registry.blocks(model).all() if not block.lifted}
    named = (update.reference for update in _newest_first(registry, model, current))
    champion = channels[CHAMPION].version if CHAMPION in channels else None
    return next((version for version in named if version and version not in blocked), champion)


def follow_reference(registry: Registry, model: str, *, run: str, reason: str) -> None:
    """Point the channel ``reference`` at the reference, unless it does already.

    Raises:
        ConflictError: Another run has moved the channel at the same time.
    """
    version, current = reference_version(registry, model), repaired_channel(registry, model, REFERENCE, run=run)
    expected = current.version if current else None
    if version and version != expected:
        registry.update_channel(model, version, run=run, reason=reason, expected=expected, channel=REFERENCE)


def _newest_first(registry: Registry, model: str, current: list[ChannelUpdate]) -> Iterator[ChannelUpdate]:
    """Yield the updates of a model, newest first; the audit is read only if the ``current`` ones do not suffice."""
    yield from sorted(current, key=lambda update: update.order, reverse=True)
    yield from registry.history(model)
