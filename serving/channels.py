"""The registry's channels, read so that an unreachable store is tried only once in each round of polling.

A channel never goes back: a pointer that is older than one that was read before is a stale read, of a cache or a
replica, and is not taken.
"""

import logging
from dataclasses import dataclass, field

from textgate.components.contracts import InputError, StoreError
from textgate.components.inference.failures import describe, failures_as
from textgate.components.storage import ChannelUpdate, ModelRef, Registry, StoreConnectionError
from textgate.serving.log import log_event


@dataclass
class Channels:
    """Channels of a registry; used under the repository's lock, except for ``champions``."""

    registry: Registry
    outage: StoreConnectionError | None = None
    """Why the store could not be reached in this round; None if it could."""
    _newest: dict[tuple[str, str], ChannelUpdate] = field(default_factory=dict)
    """Newest pointer that was read, by model and channel."""
    _stale: set[tuple[str, str]] = field(default_factory=set)
    """Channels whose last pointer was older than the newest one."""

    def model_names(self) -> list[str]:
        """Return the names of all models.

        Raises:
            StoreConnectionError: If they cannot be listed, for whatever reason: then there is no store in this round.
        """
        try:
            return self.registry.model_names()
        except InputError as error:
            self.outage = error if isinstance(error, StoreConnectionError) else StoreConnectionError(str(error))
            raise self.outage from error

    def version(self, target: ModelRef) -> str | None:
        """Return the version that a channel points at, or None.

        Raises:
            StoreConnectionError: If the store cannot be reached.
            StoreError: If the store fails on this request.
            InputError: If the channel is damaged.
        """
        if self.outage:
            raise self.outage
        try:
            pointer = self.registry.channel(target.model, target.channel)
        except StoreConnectionError as error:
            self.outage = error
            raise
        return self._newer(pointer).version if pointer else None

    def _newer(self, pointer: ChannelUpdate) -> ChannelUpdate:
        """Return a pointer, or the newest one that was read of its channel if it is older; 0 is an unknown sequence."""
        key = (pointer.model, pointer.channel)
        newest = self._newest.get(key)
        if newest and 0 < pointer.sequence < newest.sequence:
            if key not in self._stale:
                self._stale.add(key)
                log_event(
                    "the store answers with an older pointer, which is not taken: restart the server if the registry "
                    "was restored from a backup",
                    logging.WARNING,
                    model=pointer.model,
                    channel=pointer.channel,
                    version=pointer.version,
                    newer=newest.version,
                )
            return newest
        self._stale.discard(key)
        self._newest[key] = pointer
        return pointer

    def has_moved(self, target: ModelRef, version: str) -> bool:
        """Return True if a channel points at another version than ``version``.

        Raises:
            StoreConnectionError: If the store cannot be reached.
        """
        try:
            return self.version(target) not in (None, version)
        except StoreConnectionError:
            raise
        except InputError:
            return False

    def why_missing(self, target: ModelRef) -> str:
        """Return in one sentence why a channel points at no version."""
        try:
            self.registry.resolve(target)
        except InputError as error:
            return describe(error)
        return ""

    def test_f1(self, target: ModelRef, version: str) -> float | None:
        """Return the test F1 from the decision that pointed a channel at a version; None if it cannot be read."""
        if self.outage:
            return None
        try:
            with failures_as(InputError):
                update = self.registry.channel(target.model, target.channel)
        except InputError:
            return None
        return update.decision.test_f1 if update and update.version == version and update.decision else None

    def champions(self) -> dict[str, str]:
        """Return the champion of each model in the registry; a model whose champion cannot be read is left out.

        Raises:
            InputError: If the store does not answer.
        """
        champions = {}
        for model in self.registry.model_names():
            try:
                with failures_as(InputError):
                    pointer = self.registry.channel(model)
            except StoreError:
                raise
            except InputError:
                continue
            if pointer is not None:
                champions[model] = pointer.version
        return champions
