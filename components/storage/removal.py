"""Removal of versions that nothing needs, safe beside publishing and moves of channels.

    claims/<model>/<version>                        empty; written when a version is about to be published or pointed at
    removing/<model>/<version>                      lease of the process that removes the version
    models/<model>/removals/<time>-<version>.json   record of a removal; never removed

S3 has no operation that deletes an object unless another one was written. So both sides first write, then read what the
other has written (as in Dekker's algorithm for mutual exclusion), and at least one of them sees the other:

- whoever publishes or points at a version writes its claim, then reads the lease, and waits while there is one;
- whoever removes it writes the lease, then reads the channels and the age of the claim and of the version's objects,
  and leaves the version alone if one of them points at it or is younger than the grace period.

A claim protects for the grace period, which has to be longer than the time between the claim and the move: that of an
upload. Ages are differences of the store's own times: the Date of an answer and the LastModified of objects. A lease
ends by itself: its holder begins no deletion later than ``_DELETE_SECONDS`` after it has written it, by its monotonic
clock, and others ignore it after ``_LEASE_SECONDS``, which leaves time for a request that is under way.
"""

import sys
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from textgate.components.contracts import StoreError
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.step import WARNING_PREFIX
from textgate.components.storage.authorship import Authorship
from textgate.components.storage.deletion import delete_objects, store_time
from textgate.components.storage.s3 import ObjectSummary, Store

_DELETE_SECONDS = 30
_LEASE_SECONDS = 300
_POLL_SECONDS = 1.0


class Removal(FrozenModel):
    """Record that a version was removed."""

    model: str
    version: str
    files: int
    bytes: int
    removed: Authorship


def claim(store: Store, model: str, version: str) -> None:
    """Protect a version from removal for the grace period of ``textgate gc``, and wait for a removal under way.

    Afterwards the version may be gone.
    """
    store.put(f"claims/{model}/{version}", b"")
    waiting = False
    while lease := _lease(store, model, version):
        if _has_ended(store, lease):
            store.delete(lease.key)
            return
        if not waiting:
            print(
                f"{WARNING_PREFIX}waiting for textgate gc, which removes {model} {version}", file=sys.stderr, flush=True
            )
        waiting = True
        time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class VersionObjects:
    """Objects of one version: its files and its claim."""

    model: str
    version: str
    objects: list[ObjectSummary]

    @property
    def is_complete(self) -> bool:
        """Whether the version exists for readers."""
        return any(item.key.endswith(f"/{self.version}/{MANIFEST}") for item in self.objects)

    @property
    def bytes(self) -> int:
        """Size of all objects."""
        return sum(item.size for item in self.objects)

    @classmethod
    def read(cls, store: Store, model: str, version: str) -> "VersionObjects":
        """List the objects of a version."""
        claims = [item for item in store.objects(f"claims/{model}/{version}") if item.key.endswith(f"/{version}")]
        return cls(model, version, [*store.objects(f"models/{model}/versions/{version}/"), *claims])

    def is_younger(self, store: Store, age: timedelta) -> bool:
        """Return whether an object was written less than ``age`` ago, by the store's clock."""
        now = store_time(store)
        return any(now - item.modified < age for item in self.objects)


def remove_version(
    store: Store, found: VersionObjects, age: timedelta, channels: Callable[[], Collection[str]], reason: str
) -> bool:
    """Remove a version unless it is needed after all.

    Args:
        store: Store of the registry.
        found: Version to remove.
        age: Age that its youngest object must have.
        channels: Function that reads the versions that the model's channels point at.
        reason: Why, for the record.

    Returns:
        False if the version is claimed, pointed at, or being removed by another process.

    Raises:
        StoreError: The store took too long, or failed. Another removal of the version completes this one.
    """
    model, version = found.model, found.version
    started = time.monotonic()
    if not _acquire(store, model, version):
        return False
    try:
        current = VersionObjects.read(store, model, version)
        if version in channels() or current.is_younger(store, age):
            return False
        files = len(current.objects)
        removal = Removal(
            model=model, version=version, files=files, bytes=current.bytes, removed=Authorship.now(reason)
        )
        if current.is_complete:
            key = f"models/{model}/removals/{removal.removed.time.replace(':', '')}-{version}.json"
            store.put_new(key, (removal.model_dump_json(indent=2) + "\n").encode("utf-8"))
        manifest = f"models/{model}/versions/{version}/{MANIFEST}"
        others = [item.key for item in current.objects if item.key != manifest]
        cost = f"models/{model}/costs/{version}.json"
        for keys in ([manifest], [*others, cost]):
            if time.monotonic() - started > _DELETE_SECONDS:
                raise StoreError(f"removing {model} {version} took too long: run textgate gc again")
            delete_objects(store, keys)
        return True
    finally:
        if time.monotonic() - started < _DELETE_SECONDS:
            store.delete(f"removing/{model}/{version}")


def removals(store: Store, model: str) -> list[Removal]:
    """Return the removals of a model's versions, oldest first.

    Raises:
        InputError: A record is damaged.
    """
    stored = ((item.key, store.get(item.key)) for item in store.objects(f"models/{model}/removals/"))
    return [parse_json(Removal, found.data, store.uri(key), "a removal") for key, found in stored if found]


def _acquire(store: Store, model: str, version: str) -> bool:
    """Write the lease unless another process holds it."""
    key, content = f"removing/{model}/{version}", uuid.uuid4().hex.encode()
    lease = _lease(store, model, version)
    if lease and not _has_ended(store, lease):
        return False
    return store.replace(key, content, lease.etag if lease else None)


def _lease(store: Store, model: str, version: str) -> ObjectSummary | None:
    key = f"removing/{model}/{version}"
    return next((item for item in store.objects(key) if item.key == key), None)


def _has_ended(store: Store, lease: ObjectSummary) -> bool:
    return store_time(store) - lease.modified > timedelta(seconds=_LEASE_SECONDS)
