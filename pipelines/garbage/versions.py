"""Versions of a model that nothing needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from textgate.components.storage import CHAMPION, Blocks, ChannelUpdate, Registry, Store, reference_version
from textgate.components.storage.removal import VersionObjects, remove_version
from textgate.pipelines.garbage.item import Garbage, Retention


@dataclass(frozen=True)
class Needed:
    """Versions of a model that are needed, and the runs that moved a channel to one of them."""

    versions: set[str]
    runs: set[str]


def needed(store: Store, model: str, retention: Retention, now: datetime) -> Needed:
    """Return what a model needs: its channels, its reference, blocked versions, and champions for a rollback.

    These are the champions since ``retention.older_than``, and the last ``retention.champions`` before the current one.

    Raises:
        InputError: A channel, an audit entry or a block cannot be read, so that what is needed is not known.
    """
    registry, versions = Registry(store), pointed_at(store, model)
    if reference := reference_version(registry, model):
        versions.add(reference)
    versions |= {block.version for block in Blocks(store, model).all() if not block.lifted}
    updates = [*_updates(store, f"models/{model}/audit/"), *_updates(store, f"models/{model}/channels/")]
    versions |= {
        update.version
        for written, update in updates
        if update.channel == CHAMPION and now - written < retention.older_than
    }
    # In the order of the history, because times of the store are whole seconds on some stores.
    earlier = dict.fromkeys(update.version for update in registry.history(model) if update.channel == CHAMPION)
    champion = registry.channel(model)
    usable = [
        version
        for version in earlier
        if champion and version != champion.version and _is_complete(store, model, version)
    ]
    versions |= set(usable[: retention.champions])
    return Needed(versions, {update.run for _, update in updates if update.version in versions})


def pointed_at(store: Store, model: str) -> set[str]:
    """Return the versions that the channels of a model point at.

    Raises:
        InputError: A channel cannot be read.
    """
    return {update.version for _, update in _updates(store, f"models/{model}/channels/")}


def find_versions(store: Store, model: str, keep: set[str], retention: Retention, now: datetime) -> Iterator[Garbage]:
    """Yield the versions of a model that are not to be kept and are old enough, and what is left of incomplete ones."""
    claims = {item.key.rpartition("/")[2] for item in store.objects(f"claims/{model}/")}
    stored = set(store.prefixes(f"models/{model}/versions/"))
    for version in sorted((stored | claims) - keep):
        found = VersionObjects.read(store, model, version)
        age = retention.older_than if found.is_complete else retention.grace
        if not found.objects or any(now - item.modified < age for item in found.objects):
            continue
        reason = "no channel, rollback or block needs it" if found.is_complete else "it was never completed"
        yield Garbage(
            "version" if found.is_complete else "incomplete version",
            store.uri(f"models/{model}/versions/{version}/"),
            len(found.objects),
            found.bytes,
            reason,
            _Remover(store, found, age, reason),
        )


@dataclass(frozen=True)
class _Remover:
    store: Store
    found: VersionObjects
    age: timedelta
    reason: str

    def __call__(self) -> bool:
        model = self.found.model
        return remove_version(self.store, self.found, self.age, lambda: pointed_at(self.store, model), self.reason)


def _updates(store: Store, prefix: str) -> Iterator[tuple[datetime, ChannelUpdate]]:
    """Yield the channel updates below a prefix with the time of their writing."""
    for item in store.objects(prefix):
        if stored := store.get(item.key):
            yield item.modified, ChannelUpdate.parse(stored.data, store.uri(item.key))


def _is_complete(store: Store, model: str, version: str) -> bool:
    return VersionObjects.read(store, model, version).is_complete
