"""The model registry: immutable versions and movable channels on an S3 store, without a server.

    models/<model>/versions/<version>/...       a bundle; written once, its manifest last
    models/<model>/channels/<channel>.json      the last ChannelUpdate, replaced by compare-and-swap
    models/<model>/audit/<time>-<run>.json      every ChannelUpdate
    models/<model>/costs/<version>.json         cost of the version's training, if its bundle had it; written once
    models/<model>/blocks/<version>.json        a rolled-back version that must not become champion, see ``blocks``
    judgements/<model>/<run>.json               what a run used the test split for, see ``judgements``

A reader sees either the old version or the new one, whichever process dies at whatever point:
- a version exists once its manifest does, and the manifest is written after all other files;
- a channel points only at an existing version, and is replaced by one atomic write;
- versions and audit entries are never changed, and audit entries never removed; ``removal`` removes a version that
  nothing needs, its manifest first.

A channel holds the update that set it. If a process dies after the swap and before it writes the audit entry, nothing
is lost: ``history`` reads the channels too, and the next update writes the missing entry.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path

from textgate.components.contracts import (
    ConflictError,
    GateDecision,
    InputError,
    ModelBundle,
    StoreError,
    file_sha256,
    new_folder,
)
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.contracts.training_cost import TRAINING_COST
from textgate.components.storage.authorship import Authorship
from textgate.components.storage.blocks import Block, Blocks
from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.judgements import Judgements
from textgate.components.storage.model_ref import CHAMPION, REFERENCE, VERSION_CHARACTERS, ModelRef
from textgate.components.storage.removal import claim
from textgate.components.storage.s3 import ObjectContent, Store


@dataclass(frozen=True)
class Registry:
    """Models of one store."""

    store: Store

    def models(self) -> dict[str, dict[str, str]]:
        """Return the version that each channel points at, by model and channel, sorted."""
        return {
            model: {channel: update.version for channel, (update, _) in self._channels(model).items()}
            for model in self.store.prefixes("models/")
        }

    def model_names(self) -> list[str]:
        """Return the names of all models, sorted, without reading their channels."""
        return self.store.prefixes("models/")

    def versions(self, model: str) -> list[str]:
        """Return the complete versions of a model, sorted.

        Raises:
            InputError: The model does not exist.
        """
        self._require_model(model)
        keys = {item.key for item in self.store.objects(f"models/{model}/versions/")}
        versions = self.store.prefixes(f"models/{model}/versions/")
        return [version for version in versions if f"models/{model}/versions/{version}/{MANIFEST}" in keys]

    def channel(self, model: str, channel: str = CHAMPION) -> ChannelUpdate | None:
        """Return the last update of a channel, or None if the model or the channel does not exist."""
        current = self._read_channel(model, channel)
        return current[0] if current else None

    def resolve(self, ref: ModelRef) -> str:
        """Return the version that a reference points at.

        Raises:
            InputError: The model does not exist, or its channel points at no version.
        """
        update = None if ref.version else self.channel(ref.model, ref.channel)
        version = update.version if update else ref.version
        if version is None:
            self._require_model(ref.model)
            raise InputError(
                f"the model {ref.model} has no {ref.channel}: run a recipe that promotes one, "
                f"or name one of its versions as {ref.model}@VERSION"
            )
        return version

    def bundle(self, model: str, version: str) -> ModelBundle:
        """Read the manifest of a version.

        Raises:
            InputError: The model or version does not exist, or the manifest is damaged.
        """
        prefix = self._require_version(model, version)
        stored = self.store.get(f"{prefix}/{MANIFEST}")
        if stored is None:
            raise InputError(f"{self.store.uri(prefix)} has lost its {MANIFEST}")
        return ModelBundle.parse(stored.data, self.store.uri(f"{prefix}/{MANIFEST}"))

    def publish(self, model: str, folder: Path) -> str:
        """Upload a bundle as a version; files that are there already with the same content are not sent again.

        Args:
            model: Name of the model.
            folder: Folder of the bundle.

        Returns:
            The version: the first 12 characters of the bundle's fingerprint.

        Raises:
            InputError: The folder is not a bundle or does not match its manifest.
            StoreError: The version exists with other content, or the store failed.
        """
        if not MODEL_NAME.fullmatch(model):
            raise InputError(f"{model!r} is no name for a model: 1 to 63 lower-case letters, digits and inner hyphens")
        bundle = ModelBundle.load(folder)
        version = bundle.fingerprint[:VERSION_CHARACTERS]
        prefix = f"models/{model}/versions/{version}"
        claim(self.store, model, version)
        for name in [*sorted(bundle.files), MANIFEST]:
            path, key = folder / name, f"{prefix}/{name}"
            sha256 = bundle.files[name].sha256 if name in bundle.files else file_sha256(path)
            if not self.store.upload_new_file(path, key, sha256):
                raise StoreError(f"{self.store.uri(key)} exists with other bytes: a version is never changed")
        cost = folder / TRAINING_COST
        if cost.is_file():
            # Outside of the version, which never changes: a later training of the same model costs something else.
            self.store.put_new(_cost_key(model, version), cost.read_bytes())
        return version

    def update_channel(
        self,
        model: str,
        version: str,
        *,
        run: str,
        reason: str,
        expected: str | None,
        decision: GateDecision | None = None,
        channel: str = CHAMPION,
    ) -> ChannelUpdate:
        """Point a channel at a version by compare-and-swap.

        Args:
            model: Name of the model.
            version: Version to point at.
            run: Run that makes the change.
            reason: Why, for the audit.
            expected: Version that the channel must still point at; None if it must not exist yet.
            decision: Decision of the gate on which the change rests.
            channel: Name of the channel.

        Raises:
            InputError: The version does not exist, the channel no longer points at ``expected``, or the version was
                rolled back and would be champion or reference.
        """
        prefix = self._require_version(model, version)
        claim(self.store, model, version)
        if self.store.get(f"{prefix}/{MANIFEST}") is None:
            raise ConflictError(f"{self.store.uri(prefix)} has just been removed by textgate gc: run again")
        current = self._read_channel(model, channel)
        # Checked after the channel is read: a rollback that blocks the version later changes the channel, too.
        if channel in (CHAMPION, REFERENCE) and (block := self.blocks(model).active(version)):
            raise InputError(block.message)
        made = Authorship.now(reason)
        previous, etag = (current[0].version, current[1].etag) if current else (None, None)
        update = ChannelUpdate(
            model=model,
            channel=channel,
            version=version,
            previous=previous,
            run=run,
            actor=made.actor,
            reason=made.reason,
            time=made.time,
            decision=decision,
        )
        if current:
            self._write_audit_entry(current[0])
        key = f"models/{model}/channels/{channel}.json"
        # A write that is retried because its response was lost conflicts with its own first attempt: no real conflict.
        swapped = previous == expected and (
            self.store.replace(key, _to_json(update), etag) or self.channel(model, channel) == update
        )
        if not swapped:
            raise InputError(
                f"the {channel} of {model} has been moved by another run since it was compared "
                f"({expected or 'nothing'} was expected, {previous or 'nothing'} was found): run again"
            )
        self._write_audit_entry(update)
        return update

    def blocks(self, model: str) -> Blocks:
        """Return the blocked versions of a model, which need not exist."""
        return Blocks(self.store, model)

    def judgements(self, model: str) -> Judgements:
        """Return the judgements of a model's candidates; the model need not exist."""
        return Judgements(self.store, model)

    def unblock(self, model: str, version: str, *, reason: str) -> Block:
        """Lift the block of a version, so that a run or a rollback can make it champion again.

        Raises:
            InputError: The model or the version does not exist, or the version is not blocked.
        """
        self._require_version(model, version)
        return self.blocks(model).lift(version, reason)

    def history(self, model: str) -> list[ChannelUpdate]:
        """Return every update of the model's channels, newest first.

        Raises:
            InputError: The model does not exist.
        """
        self._require_model(model)
        updates = {update.audit_key: update for update, _ in self._channels(model).values()}
        for item in self.store.objects(f"models/{model}/audit/"):
            stored = self.store.get(item.key)
            if stored is not None:
                updates[item.key] = ChannelUpdate.parse(stored.data, self.store.uri(item.key))
        return sorted(updates.values(), key=lambda update: update.time, reverse=True)

    def download(self, model: str, version: str, folder: Path) -> ModelBundle:
        """Download and verify a version.

        Args:
            model: Name of the model.
            version: Version to download.
            folder: Folder to create; it is not created if the bundle does not match its manifest.

        Raises:
            InputError: The version does not exist, or a file in the store has been changed.
        """
        prefix = self._require_version(model, version)
        with new_folder(folder) as temporary:
            self.store.download_folder(prefix, temporary)
            bundle = ModelBundle.load(temporary)
            if cost := self.store.get(_cost_key(model, version)):
                (temporary / TRAINING_COST).write_bytes(cost.data)
        if not bundle.fingerprint.startswith(version):
            raise InputError(f"{self.store.uri(prefix)} holds the bundle {bundle.fingerprint[:12]}, not {version}")
        return bundle

    def _read_channel(self, model: str, channel: str) -> tuple[ChannelUpdate, ObjectContent] | None:
        key = f"models/{model}/channels/{channel}.json"
        stored = self.store.get(key)
        return (ChannelUpdate.parse(stored.data, self.store.uri(key)), stored) if stored else None

    def _channels(self, model: str) -> dict[str, tuple[ChannelUpdate, ObjectContent]]:
        prefix = f"models/{model}/channels/"
        channels = {}
        for item in self.store.objects(prefix):
            channel = item.key[len(prefix) :].removesuffix(".json")
            current = self._read_channel(model, channel)
            if current is not None:
                channels[channel] = current
        return channels

    def _write_audit_entry(self, update: ChannelUpdate) -> None:
        self.store.put_new(update.audit_key, _to_json(update))

    def _require_model(self, model: str) -> None:
        known = self.store.prefixes("models/")
        if model not in known:
            nearest = difflib.get_close_matches(model, known, n=1, cutoff=0.0)
            hint = f"did you mean {nearest[0]}?" if nearest else "there are none yet"
            raise InputError(f"no model {model!r} in {self.store.uri('models/')}; {hint}")

    def _require_version(self, model: str, version: str) -> str:
        """Return the key prefix of a version; raise InputError if the version does not exist."""
        known = self.versions(model)
        if version not in known:
            raise InputError(f"the model {model} has no version {version!r}; it has {', '.join(known) or 'none'}")
        return f"models/{model}/versions/{version}"


def _cost_key(model: str, version: str) -> str:
    return f"models/{model}/costs/{version}.json"


def _to_json(update: ChannelUpdate) -> bytes:
    return (update.model_dump_json(indent=2) + "\n").encode("utf-8")
