"""The reference of a model: the champion that no later one was shown to be better than.

The decision that promotes a champion names the reference, so one atomic write of the channel ``champion`` sets both.
The channel ``reference`` follows; people and servers read it, and it can be moved by hand. If a process dies before it
moves the channel, ``reference_version`` still returns the right version, and the next promotion moves the channel.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.model_ref import CHAMPION, REFERENCE

if TYPE_CHECKING:
    from textgate.components.storage.registry import Registry


def reference_version(registry: "Registry", model: str) -> str | None:
    """Return the version of the reference: the last one that was named and is not blocked.

    Without one, as in a registry of an earlier version of textgate, it is the champion; None if there is none.
    """
    champion = registry.channel(model, CHAMPION)
    if champion is None:
        return None
    blocked = {block.version for block in registry.blocks(model).all() if not block.lifted}
    named = (update.reference for update in _newest_first(registry, model))
    return next((version for version in named if version and version not in blocked), champion.version)


def follow_reference(registry: "Registry", model: str, *, run: str, reason: str) -> None:
    """Point the channel ``reference`` at the reference, unless it does already.

    Raises:
        InputError: Another run has moved the channel at the same time.
    """
    version, current = reference_version(registry, model), registry.channel(model, REFERENCE)
    expected = current.version if current else None
    if version and version != expected:
        registry.update_channel(model, version, run=run, reason=reason, expected=expected, channel=REFERENCE)


def _newest_first(registry: "Registry", model: str) -> Iterator[ChannelUpdate]:
    """Yield the updates of a model, newest first; the audit is read only if the channels do not suffice."""
    current = (registry.channel(model, channel) for channel in (CHAMPION, REFERENCE))
    yield from sorted((update for update in current if update), key=lambda update: update.order, reverse=True)
    yield from registry.history(model)
