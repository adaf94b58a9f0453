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
from textgate.components.storage.blocks import Block, Blocks
from textgate.components.storage.channel_log import ChannelLog
from textgate.components.storage.channel_update import ChannelUpdate
from textgate.components.storage.damage import read_object, verify_files
from textgate.components.storage.judgements import Judgements
from textgate.components.storage.model_ref import CHAMPION, VERSION_CHARACTERS, ModelRef
from textgate.components.storage.removal import claim
from textgate.components.storage.s3 import Store


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
        return self.channel_log(model).last_update(channel)

    def channels(self, model: str) -> dict[str, ChannelUpdate]:
        """Return the last update of each channel that can be read, and log a warning for each that cannot."""
        return self.channel_log(model).channels()

    def channel_log(self, model: str) -> ChannelLog:
        """Return the channels of a model, which need not exist, and their audit log."""
        return ChannelLog(self.store, model)

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
        """Check that a version is intact: its manifest, and names, sizes and sha256 of its files; see ``verify_files``.

        Raises:
            InputError: The model does not exist.
            DamagedError: The version has no manifest, or is damaged.
        """
        prefix = f"models/{model}/versions/{version}"
        read = read_object(self.store, f"{prefix}/{MANIFEST}", ModelBundle.parse)
        if read is None:
            self._require_model(model)
            raise DamagedError(f"the model {model} has no complete version {version}")
        bundle = read[0]
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
        if self.store.head(f"{prefix}/{MANIFEST}") is None:
            raise ConflictError(f"{self.store.uri(prefix)} has just been removed by textgate gc: run again")
        self.verify(model, version)
        log = self.channel_log(model)
        return log.update(channel, version, run=run, reason=reason, expected=expected, decision=decision)

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
        return self.channel_log(model).history()

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

    def _require_model(self, model: str) -> None:
        known = self.store.prefixes("models/")
        if model not in known:
            nearest = difflib.get_close_matches(model, known, n=1, cutoff=0.0)
            hint = f"did you mean {nearest[0]}?" if nearest else "there are none yet"
            raise InputError(f"no model {model!r} in {self.store.uri('models/')}; {hint}")

    def _require_version(self, model: str, version: str) -> str:
        """Return the key prefix of a version; raise InputError if the version does not exist."""
        prefix = f"models/{model}/versions/{version}"
        if self.store.head(f"{prefix}/{MANIFEST}") is None:
            known = self.versions(model)
            raise InputError(f"the model {model} has no version {version!r}; it has {', '.join(known) or 'none'}")
        return prefix


def _cost_key(model: str, version: str) -> str:
    return f"models/{model}/costs/{version}.json"
