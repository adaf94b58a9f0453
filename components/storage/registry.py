"""The model registry: immutable versions and movable channels on an S3 store, without a server.

    models/<model>/versions/<version>/...       a bundle; written once, its manifest last
    models/<model>/channels/<channel>.json      the last ChannelUpdate, replaced by compare-and-swap
    models/<model>/audit/<sequence>-<channel>-<run>.json    every ChannelUpdate; <time>-<run>.json of textgate 0.1
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
    DamagedError,
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
from textgate.components.storage.channel_update import ChannelUpdate, sequence_of
from textgate.components.storage.damage import read_object, skip_damaged, verify_files
from textgate.components.storage.errors import DamagedObjectError
from textgate.components.storage.judgements import Judgements
from textgate.components.storage.model_ref import CHAMPION, REFERENCE, VERSION_CHARACTERS, ModelRef
from textgate.components.storage.removal import claim
from textgate.components.storage.s3 import ObjectContent, Store


@dataclass(frozen=True)
class Registry:
    """Models of one store."""

    store: Store

    def models(self) -> dict[str, dict[str, str]]:
        """Return the version that each channel points at, by model and channel, sorted.

        Damaged channels are left out, with a warning each.
        """
        return {
            model: {channel: update.version for channel, update in self.channels(model).items()}
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
        """Return the last update of a channel, or None if the model or the channel does not exist.

        Raises:
            DamagedError: The channel cannot be read; ``repair_channel`` rebuilds it.
        """
        try:
            current = self._read_channel(model, channel)
        except DamagedError as error:
            raise DamagedError(f"{error}: {_repair_hint(model, channel)}") from error
        return current[0] if current else None

    def channel_names(self, model: str) -> list[str]:
        """Return the names of a model's channels, damaged ones included, sorted."""
        prefix = f"models/{model}/channels/"
        return [item.key[len(prefix) :].removesuffix(".json") for item in self.store.objects(prefix)]

    def channels(self, model: str) -> dict[str, ChannelUpdate]:
        """Return the last update of each channel that can be read, and log a warning for each that cannot."""
        channels = {}
        for channel in self.channel_names(model):
            with skip_damaged(f"it is skipped, and {_repair_hint(model, channel)}"):
                if current := self._read_channel(model, channel):
                    channels[channel] = current[0]
        return channels

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
            InputError: The model or version does not exist.
            DamagedError: The manifest is damaged.
        """
        prefix = self._require_version(model, version)
        read = read_object(self.store, f"{prefix}/{MANIFEST}", ModelBundle.parse)
        if read is None:
            raise DamagedError(f"{self.store.uri(prefix)} has lost its {MANIFEST}")
        return read[0]

    def verify(self, model: str, version: str) -> None:
        """Check that a version is intact: its manifest, names and sizes of its files, the sha256 of those up to 64 MiB.

        Raises:
            InputError: The model does not exist.
            DamagedError: The version has no manifest, or is damaged.
        """
        if version not in self.versions(model):
            raise DamagedError(f"the model {model} has no complete version {version}")
        bundle, prefix = self.bundle(model, version), f"models/{model}/versions/{version}"
        if not bundle.fingerprint.startswith(version):
            raise DamagedError(f"{self.store.uri(prefix)} holds the bundle {bundle.fingerprint[:12]}, not {version}")
        verify_files(self.store, prefix, bundle)

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
        """Point a channel at a version by compare-and-swap, after the version is verified.

        Args:
            model: Name of the model.
            version: Version to point at.
            run: Run that makes the change.
            reason: Why, for the audit.
            expected: Version that the channel must still point at; None if it must not exist yet, or be damaged.
            decision: Decision of the gate on which the change rests.
            channel: Name of the channel.

        Raises:
            InputError: The version does not exist, or it was rolled back and would be champion or reference.
            DamagedError: The version is damaged, or the channel is and ``expected`` names a version.
            ConflictError: The channel no longer points at ``expected``.
        """
        prefix = self._require_version(model, version)
        claim(self.store, model, version)
        if self.store.get(f"{prefix}/{MANIFEST}") is None:
            raise ConflictError(f"{self.store.uri(prefix)} has just been removed by textgate gc: run again")
        self.verify(model, version)
        key = _channel_key(model, channel)
        current: ChannelUpdate | None = None
        etag: str | None = None
        unknown = 0
        try:
            if read := self._read_channel(model, channel):
                current, etag = read[0], read[1].etag
        except DamagedObjectError as error:
            if expected is not None:
                raise
            # Its audit entry may never have been written, so its number may be one more than all that are known.
            etag, unknown = error.etag, 1
        # Checked after the channel is read: a rollback that blocks the version later changes the channel, too.
        if channel in (CHAMPION, REFERENCE) and (block := self.blocks(model).active(version)):
            raise InputError(block.message)
        before = current or (self._last_audited(model, channel) if unknown else None)
        made, previous = Authorship.now(reason), current.version if current else None
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
            sequence=1 + unknown + self._last_sequence(model, current),
            after=before.audit_key if before else None,
        )
        if current:
            self._write_audit_entry(current)
        # A write that is retried because its response was lost conflicts with its own first attempt: no real conflict.
        swapped = previous == expected and (self.store.replace(key, _to_json(update), etag) or self._has_made(update))
        if not swapped:
            raise ConflictError(
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
        """Return every update of the model's channels, newest first in the order of the chain.

        Damaged updates are left out, with a warning each.

        Raises:
            InputError: The model does not exist.
        """
        self._require_model(model)
        updates = {update.audit_key: update for update in self.channels(model).values()}
        for item in self.store.objects(f"models/{model}/audit/"):
            with skip_damaged("it is left out of the history"):
                if item.key not in updates and (read := read_object(self.store, item.key, ChannelUpdate.parse)):
                    updates[item.key] = read[0]
        return sorted(updates.values(), key=lambda update: update.order, reverse=True)

    def download(self, model: str, version: str, folder: Path) -> ModelBundle:
        """Download and verify a version.

        Args:
            model: Name of the model.
            version: Version to download.
            folder: Folder to create; it is not created if the bundle does not match its manifest.

        Raises:
            InputError: The version does not exist.
            DamagedError: A file in the store has been changed.
        """
        prefix = self._require_version(model, version)
        with new_folder(folder, keep_existing=True) as temporary:
            self.store.download_folder(prefix, temporary)
            try:
                bundle = ModelBundle.load(temporary)
            except InputError as error:
                raise DamagedError(f"{self.store.uri(prefix)} is damaged: {error}") from error
            if cost := self.store.get(_cost_key(model, version)):
                (temporary / TRAINING_COST).write_bytes(cost.data)
            if not bundle.fingerprint.startswith(version):
                raise DamagedError(
                    f"{self.store.uri(prefix)} holds the bundle {bundle.fingerprint[:12]}, not {version}"
                )
        return bundle

    def _read_channel(self, model: str, channel: str) -> tuple[ChannelUpdate, ObjectContent] | None:
        return read_object(self.store, _channel_key(model, channel), ChannelUpdate.parse)

    def _last_audited(self, model: str, channel: str) -> ChannelUpdate | None:
        return next((update for update in self.history(model) if update.channel == channel), None)

    def _last_sequence(self, model: str, current: ChannelUpdate | None) -> int:
        """Return the highest sequence number of the model's channels and audit entries, damaged entries included."""
        entries = [sequence_of(item.key) for item in self.store.objects(f"models/{model}/audit/")]
        pointers = [update.sequence for update in self.channels(model).values()]
        return max([*entries, *pointers, current.sequence if current else 0])

    def _has_made(self, update: ChannelUpdate) -> bool:
        """Return whether an update was made whose response was lost; a later one has written its audit entry."""
        pointer = read_object(self.store, _channel_key(update.model, update.channel), ChannelUpdate.parse)
        entry = read_object(self.store, update.audit_key, ChannelUpdate.parse)
        return update in [read[0] for read in (pointer, entry) if read]

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


def _channel_key(model: str, channel: str) -> str:
    return f"models/{model}/channels/{channel}.json"


def _repair_hint(model: str, channel: str) -> str:
    return f"textgate models repair {model} --channel {channel} rebuilds it"


def _cost_key(model: str, version: str) -> str:
    return f"models/{model}/costs/{version}.json"


def _to_json(update: ChannelUpdate) -> bytes:
    return (update.model_dump_json(indent=2) + "\n").encode("utf-8")
