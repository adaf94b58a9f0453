"""Channels of one model and their audit log.

    models/<model>/channels/<channel>.json      the last ChannelUpdate of the channel, replaced by compare-and-swap
    models/<model>/audit/<sequence>-<channel>-<run>.json    every ChannelUpdate

The audit entry of an update is written after the channel, and again before the next update: whichever process dies at
whatever point, only the entry of a channel's last update can be missing, and the channel has its content.
"""

from dataclasses import dataclass

from textgate.components.contracts import ConflictError, DamagedError, GateDecision, InputError
from textgate.components.storage.authorship import Authorship
from textgate.components.storage.blocks import Blocks
from textgate.components.storage.channel_update import ChannelUpdate, sequence_of
from textgate.components.storage.damage import read_object, skip_damaged
from textgate.components.storage.errors import DamagedObjectError
from textgate.components.storage.model_ref import CHAMPION, REFERENCE
from textgate.components.storage.s3 import ObjectContent, Store


@dataclass(frozen=True)
class ChannelLog:
    """Channels of one model and their audit log."""

    store: Store
    model: str

    def names(self) -> list[str]:
        """Return the names of the channels, damaged ones included, sorted."""
        prefix = self._key("")[: -len(".json")]
        return [item.key[len(prefix) :].removesuffix(".json") for item in self.store.objects(prefix)]

    def last_update(self, channel: str) -> ChannelUpdate | None:
        """Return the last update of a channel, or None if the model or the channel does not exist.

        Raises:
            DamagedError: The channel cannot be read; ``repair_channel`` rebuilds it.
        """
        try:
            current = self._read(channel)
        except DamagedError as error:
            raise DamagedError(f"{error}: {self._hint(channel)}") from error
        return current[0] if current else None

    def channels(self) -> dict[str, ChannelUpdate]:
        """Return the last update of each channel that can be read, and log a warning for each that cannot."""
        channels = {}
        for channel in self.names():
            with skip_damaged(f"it is skipped, and {self._hint(channel)}"):
                if current := self._read(channel):
                    channels[channel] = current[0]
        return channels

    def history(self) -> list[ChannelUpdate]:
        """Return every update, newest first in the order of the chain; damaged ones are left out, with a warning."""
        updates = {update.audit_key: update for update in self.channels().values()}
        for item in self.store.objects(f"models/{self.model}/audit/"):
            with skip_damaged("it is left out of the history"):
                if item.key not in updates and (read := read_object(self.store, item.key, ChannelUpdate.parse)):
                    updates[item.key] = read[0]
        return sorted(updates.values(), key=lambda update: update.order, reverse=True)

    def update(
        self,
        channel: str,
        version: str,
        *,
        run: str,
        reason: str,
        expected: str | None,
        decision: GateDecision | None,
    ) -> ChannelUpdate:
        """Point a channel at a version by compare-and-swap; see ``Registry.update_channel``."""
        current: ChannelUpdate | None = None
        before: ChannelUpdate | None = None
        etag: str | None = None
        lost = 0
        try:
            if read := self._read(channel):
                current, etag = read[0], read[1].etag
                before = current
        except DamagedObjectError as error:
            if expected is not None:
                raise
            # The update that cannot be read may have no audit entry, and one number more than all that are known.
            etag, lost = error.etag, 1
            before = next((update for update in self.history() if update.channel == channel), None)
        # Checked after the channel is read: a rollback that blocks the version later changes the channel, too.
        if channel in (CHAMPION, REFERENCE) and (block := Blocks(self.store, self.model).active(version)):
            raise InputError(block.message)
        made, previous = Authorship.now(reason), current.version if current else None
        update = ChannelUpdate(
            model=self.model,
            channel=channel,
            version=version,
            previous=previous,
            run=run,
            actor=made.actor,
            reason=made.reason,
            time=made.time,
            decision=decision,
            sequence=self._last_sequence(current) + lost + 1,
            after=before.audit_key if before else None,
        )
        if current:
            self._write_audit_entry(current)
        swapped = previous == expected and (
            self.store.replace(self._key(channel), _to_json(update), etag) or self._has_made(update)
        )
        if not swapped:
            raise ConflictError(
                f"the {channel} of {self.model} has been moved by another run since it was compared "
                f"({expected or 'nothing'} was expected, {previous or 'nothing'} was found): run again"
            )
        self._write_audit_entry(update)
        return update

    def _read(self, channel: str) -> tuple[ChannelUpdate, ObjectContent] | None:
        return read_object(self.store, self._key(channel), ChannelUpdate.parse)

    def _last_sequence(self, current: ChannelUpdate | None) -> int:
        """Return the highest sequence number of the channels and the audit entries, damaged entries included."""
        entries = [sequence_of(item.key) for item in self.store.objects(f"models/{self.model}/audit/")]
        pointers = [update.sequence for update in self.channels().values()]
        return max([*entries, *pointers, current.sequence if current else 0])

    def _has_made(self, update: ChannelUpdate) -> bool:
        """Return whether an update was made and replaced, so that ``Store.replace`` could not tell it from a lost race.

        Its response was lost; the update that replaced it has written its audit entry.
        """
        entry = read_object(self.store, update.audit_key, ChannelUpdate.parse)
        return entry is not None and entry[0] == update

    def _write_audit_entry(self, update: ChannelUpdate) -> None:
        self.store.put_new(update.audit_key, _to_json(update))

    def _key(self, channel: str) -> str:
        return f"models/{self.model}/channels/{channel}.json"

    def _hint(self, channel: str) -> str:
        return f"textgate models repair {self.model} --channel {channel} rebuilds it"


def _to_json(update: ChannelUpdate) -> bytes:
    return (update.model_dump_json(indent=2) + "\n").encode("utf-8")
