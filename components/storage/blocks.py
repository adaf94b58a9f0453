"""Blocks of rolled-back versions: such a version does not become champion again until its block is lifted.

    models/<model>/blocks/<version>.json      the last Block of the version, replaced by compare-and-swap

A version is named after the fingerprint of its bundle, so a later run that produces the same bundle is blocked too.
A block that is damaged holds, because it may not have been lifted.
"""

from dataclasses import dataclass
from functools import partial

from textgate.components.contracts import ConflictError, InputError
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.authorship import Authorship
from textgate.components.storage.damage import read_object
from textgate.components.storage.errors import DamagedObjectError
from textgate.components.storage.s3 import Store


class Block(FrozenModel):
    """Record that a version must not become champion."""

    model: str
    version: str
    blocked: Authorship
    lifted: Authorship | None = None
    """Who lifted the block, when and why; None while it holds."""

    @property
    def message(self) -> str:
        """When and why the version was rolled back, and the command that lifts the block."""
        day = self.blocked.time[:10] or "an unknown day"
        return (
            f"{self.version} was rolled back on {day} because {self.blocked.reason}: "
            f"textgate models unblock {self.model} {self.version} lifts it"
        )


@dataclass(frozen=True)
class Blocks:
    """Blocked versions of one model."""

    store: Store
    model: str

    def all(self) -> list[Block]:
        """Return the last block of each version, also those that were lifted, sorted by version."""
        prefix = f"models/{self.model}/blocks/"
        versions = [item.key[len(prefix) :].removesuffix(".json") for item in self.store.objects(prefix)]
        return [stored[0] for version in versions if (stored := self._read(version))]

    def active(self, version: str) -> Block | None:
        """Return the block of a version, or None if it is not blocked."""
        stored = self._read(version)
        return stored[0] if stored and stored[0].lifted is None else None

    def add(self, version: str, reason: str) -> Block:
        """Block a version, or return the block that another process adds at the same time.

        Raises:
            ConflictError: Another process has lifted the block at the same time.
        """
        stored = self._read(version)
        try:
            return self._write(Block(model=self.model, version=version, blocked=Authorship.now(reason)), stored)
        except ConflictError:
            if block := self.active(version):
                return block
            raise

    def lift(self, version: str, reason: str) -> Block:
        """Lift the block of a version.

        Raises:
            InputError: The version is not blocked.
            ConflictError: Another process has changed the block at the same time.
        """
        stored = self._read(version)
        if stored is None or stored[0].lifted:
            blocked = [block.version for block in self.all() if not block.lifted]
            raise InputError(
                f"{version} is no blocked version of {self.model}; blocked: {', '.join(blocked) or 'none'}"
            )
        return self._write(stored[0].model_copy(update={"lifted": Authorship.now(reason)}), stored)

    def _read(self, version: str) -> tuple[Block, str] | None:
        """Return the block of a version and its ETag, or None if there is none."""
        try:
            read = read_object(self.store, self._key(version), partial(parse_json, Block, what="a block"))
            return (read[0], read[1].etag) if read else None
        except DamagedObjectError as error:
            unknown = Authorship(actor="unknown", time="", reason=f"of a reason that cannot be read ({error})")
            return Block(model=self.model, version=version, blocked=unknown), error.etag

    def _write(self, block: Block, replaced: tuple[Block, str] | None) -> Block:
        key, etag = self._key(block.version), replaced[1] if replaced else None
        if not self.store.replace(key, (block.model_dump_json(indent=2) + "\n").encode("utf-8"), etag):
            raise ConflictError(f"{self.store.uri(key)} has been changed by another process: run again")
        return block

    def _key(self, version: str) -> str:
        return f"models/{self.model}/blocks/{version}.json"
