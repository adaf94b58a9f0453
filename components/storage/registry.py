"""The model registry: immutable versions and movable channels, on a store, with no server of its own.

    models/<model>/versions/<version>/...       a bundle; written once, its manifest last
    models/<model>/channels/<channel>.json      the last Move of the channel, swapped by conditional write
    models/<model>/audit/<time>-<run>.json      every Move

A reader sees the old version whole or the new one whole, whatever dies when: a version counts from the moment its
manifest exists, which is after all its files; a channel is pointed only at such a version, by one atomic write; and
nothing is ever changed or removed. The channel holds the Move that set it, so a death between the swap and the audit
entry loses nothing: ``history`` reads both, and the next move writes the entry that is missing.
"""

import difflib
import getpass
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from textgate.components.contracts import GateDecision, InputError, ModelBundle, new_folder
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.contracts.parse import parse_json
from textgate.components.storage.s3 import ObjectContent, Store

CHAMPION = "champion"
_VERSION_CHARACTERS = 12
_VERSION = re.compile(rf"[0-9a-f]{{{_VERSION_CHARACTERS}}}")


class ChannelUpdate(FrozenModel):
    """One move of a channel."""

    model: str
    channel: str
    version: str
    previous: str | None
    """The version the channel pointed at before."""
    run: str
    actor: str
    reason: str
    time: str
    """UTC, ISO 8601 with microseconds."""
    decision: GateDecision | None = None

    @property
    def audit_key(self) -> str:
        """Where the audit keeps it."""
        return f"models/{self.model}/audit/{self.time.replace(':', '')}-{self.run}.json"

    @classmethod
    def parse(cls, text: bytes, where: str) -> "ChannelUpdate":
        """A move from its JSON; ``where`` names it in errors.

        Raises:
            InputError: not a move.
        """
        return parse_json(cls, text, where, "a move of a channel")


@dataclass(frozen=True)
class ModelRef:
    """What a model's name is to stand for: what a channel points at, or one version for good."""

    model: str
    channel: str = CHAMPION
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """From ``model``, ``model@channel`` or ``model@version``.

        Raises:
            InputError: none of these.
        """
        model, at, rest = text.partition("@")
        if not model or (at and not rest):
            raise InputError(f"{text!r} names no model: write MODEL, MODEL@channel or MODEL@version")
        return cls(model, version=rest) if _VERSION.fullmatch(rest) else cls(model, rest or CHAMPION)


@dataclass(frozen=True)
class Registry:
    """The models of one store."""

    store: Store

    def models(self) -> dict[str, dict[str, str]]:
        """Every model with the version each of its channels points at, both sorted."""
        return {
            model: {channel: move.version for channel, (move, _) in self._channels(model).items()}
            for model in self.store.prefixes("models/")
        }

    def versions(self, model: str) -> list[str]:
        """Every whole version of a model, sorted.

        Raises:
            InputError: no such model.
        """
        self._require(model)
        keys = {item.key for item in self.store.objects(f"models/{model}/versions/")}
        found = self.store.prefixes(f"models/{model}/versions/")
        return [version for version in found if f"models/{model}/versions/{version}/{MANIFEST}" in keys]

    def channel(self, model: str, channel: str = CHAMPION) -> ChannelUpdate | None:
        """The move that set a channel; None when the model or the channel does not exist yet."""
        found = self._read_channel(model, channel)
        return found[0] if found else None

    def resolve(self, target: ModelRef) -> str:
        """The version that a target stands for now.

        Raises:
            InputError: no such model, or its channel points at nothing.
        """
        move = None if target.version else self.channel(target.model, target.channel)
        version = move.version if move else target.version
        if version is None:
            self._require(target.model)
            raise InputError(
                f"the model {target.model} has no {target.channel}: run a recipe that promotes one, "
                f"or name one of its versions as {target.model}@VERSION"
            )
        return version

    def bundle(self, model: str, version: str) -> ModelBundle:
        """The manifest of a version.

        Raises:
            InputError: no such model or version, or the manifest is damaged.
        """
        prefix = self._require_version(model, version)
        stored = self.store.get(f"{prefix}/{MANIFEST}")
        if stored is None:
            raise InputError(f"{self.store.uri(prefix)} has lost its {MANIFEST}")
        return ModelBundle.parse(stored.data, self.store.uri(f"{prefix}/{MANIFEST}"))

    def publish(self, model: str, folder: Path) -> str:
        """Write a bundle as a version, named by its fingerprint; one that is there whole already is left as it is.

        Raises:
            InputError: not a bundle, it does not match its manifest, or the version exists with other bytes.
        """
        if not MODEL_NAME.fullmatch(model):
            raise InputError(f"{model!r} is no name for a model: 1 to 63 lower-case letters, digits and inner hyphens")
        bundle = ModelBundle.load(folder)
        version = bundle.fingerprint[:_VERSION_CHARACTERS]
        prefix = f"models/{model}/versions/{version}"
        for name in [*sorted(bundle.files), MANIFEST]:
            path, key = folder / name, f"{prefix}/{name}"
            if self._upload_new(path, key):
                continue
            stored = self.store.get(key)
            if stored is None or hashlib.sha256(stored.data).digest() != hashlib.sha256(path.read_bytes()).digest():
                raise InputError(f"{self.store.uri(key)} exists with other bytes: a version is never changed")
        return version

    def _upload_new(self, path: Path, key: str) -> bool:
        return self.store.put_new(key, path.read_bytes())

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
        """Point a channel at a version, if it still points at ``expected`` (None: at nothing).

        Raises:
            InputError: the version is not whole in the registry, or the channel points elsewhere by now.
        """
        self._require_version(model, version)
        current = self._read_channel(model, channel)
        previous, etag = (current[0].version, current[1].etag) if current else (None, None)
        move = ChannelUpdate(
            model=model,
            channel=channel,
            version=version,
            previous=previous,
            run=run,
            actor=_actor(),
            reason=reason,
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            decision=decision,
        )
        if current:
            self._audit(current[0])
        key = f"models/{model}/channels/{channel}.json"
        # A write sent again because its answer was lost meets its own first try and is refused: that is no conflict.
        moved = previous == expected and (
            self.store.replace(key, _encoded(move), etag) or self.channel(model, channel) == move
        )
        if not moved:
            raise InputError(
                f"the {channel} of {model} has been moved by another run since it was compared "
                f"({expected or 'nothing'} was expected, {previous or 'nothing'} was found): run again"
            )
        self._audit(move)
        return move

    def rollback(self, model: str, to: str | None = None, *, run: str, reason: str) -> ChannelUpdate:
        """Make the version ``to`` champion, or the one before the present champion.

        Raises:
            InputError: no champion, none before it, or no such version.
        """
        self._require(model)
        champion = self.channel(model)
        if champion is None:
            raise InputError(f"the model {model} has no champion to roll back from")
        target = to or champion.previous
        if target is None:
            raise InputError(
                f"{model} has had no champion before {champion.version}: name one of its versions with --to"
            )
        if target == champion.version:
            raise InputError(f"{target} is the champion of {model} already")
        return self.update_channel(model, target, run=run, reason=reason, expected=champion.version)

    def history(self, model: str) -> list[ChannelUpdate]:
        """Every move of the model's channels, newest first.

        Raises:
            InputError: no such model.
        """
        self._require(model)
        moves = {move.audit_key: move for move, _ in self._channels(model).values()}
        for item in self.store.objects(f"models/{model}/audit/"):
            stored = self.store.get(item.key)
            if stored is not None:
                moves[item.key] = ChannelUpdate.parse(stored.data, self.store.uri(item.key))
        return sorted(moves.values(), key=lambda move: move.time, reverse=True)

    def download(self, model: str, version: str, folder: Path) -> ModelBundle:
        """Read a version into ``folder`` and check it; nothing is left there when it does not match its manifest.

        Raises:
            InputError: no such version, or a file in the store has been changed; it is named.
        """
        prefix = self._require_version(model, version)
        with new_folder(folder) as temporary:
            self.store.download_folder(prefix, temporary)
            bundle = ModelBundle.load(temporary)
        if not bundle.fingerprint.startswith(version):
            raise InputError(f"{self.store.uri(prefix)} holds the bundle {bundle.fingerprint[:12]}, not {version}")
        return bundle

    def _read_channel(self, model: str, channel: str) -> tuple[ChannelUpdate, ObjectContent] | None:
        key = f"models/{model}/channels/{channel}.json"
        stored = self.store.get(key)
        return (ChannelUpdate.parse(stored.data, self.store.uri(key)), stored) if stored else None

    def _channels(self, model: str) -> dict[str, tuple[ChannelUpdate, ObjectContent]]:
        prefix = f"models/{model}/channels/"
        found = {}
        for item in self.store.objects(prefix):
            channel = item.key[len(prefix) :].removesuffix(".json")
            read = self._read_channel(model, channel)
            if read is not None:
                found[channel] = read
        return found

    def _audit(self, move: ChannelUpdate) -> None:
        self.store.put_new(move.audit_key, _encoded(move))

    def _require(self, model: str) -> None:
        known = self.store.prefixes("models/")
        if model not in known:
            nearest = difflib.get_close_matches(model, known, n=1, cutoff=0.0)
            hint = f"did you mean {nearest[0]}?" if nearest else "there are none yet"
            raise InputError(f"no model {model!r} in {self.store.uri('models/')}; {hint}")

    def _require_version(self, model: str, version: str) -> str:
        known = self.versions(model)
        if version not in known:
            raise InputError(f"the model {model} has no version {version!r}; it has {', '.join(known) or 'none'}")
        return f"models/{model}/versions/{version}"


def _encoded(move: ChannelUpdate) -> bytes:
    return (move.model_dump_json(indent=2) + "\n").encode("utf-8")


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"
