"""The registry's channels, read so that an unreachable store is tried only once in each round of polling."""

from dataclasses import dataclass

from textgate.components.contracts import InputError
from textgate.components.inference.failures import describe, failures_as
from textgate.components.storage import ModelRef, Registry, StoreConnectionError


@dataclass
class Channels:
    """Channels of a registry; used under the repository's lock, except for ``champions``."""

    registry: Registry
    outage: StoreConnectionError | None = None
    """Why the store could not be reached in this round; None if it could."""

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
            InputError: If the channel cannot be read.
        """
        if self.outage:
            raise self.outage
        try:
            pointer = self.registry.channel(target.model, target.channel)
        except StoreConnectionError as error:
            self.outage = error
            raise
        return pointer.version if pointer else None

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
            except StoreConnectionError:
                raise
            except InputError:
                continue
            if pointer is not None:
                champions[model] = pointer.version
        return champions
