"""Cache of ``kfp.local`` that returns the outputs of a step only as the step wrote them.

An entry is a line with the sha256 of the key and of all that follows, and then the outputs as JSON: parameters as
values, artifacts as path and metadata. The metadata has the checksums of the artifact's files (see
``textgate.components.checksums``).
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache, _MissingArtifactError

from textgate.components.checksums import damage, has_checksums
from textgate.components.contracts import write_file


class _DamagedError(Exception):
    """An entry, or an artifact that it names, is not as it was written; the message says which file."""


class VerifiedCache(LocalCache):  # type: ignore[misc]
    """Cache with the keys and the JSON of ``LocalCache``; a damaged entry is a miss."""

    def __init__(self, cache_root: str, refused: Callable[[str], None]) -> None:
        """Open the cache.

        Args:
            cache_root: Folder of the entries; it is created.
            refused: Function that is called with the reason if outputs are not used because they are damaged.
        """
        super().__init__(cache_root)
        self._refused = refused

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the cached outputs of a step; None if there are none, an artifact was deleted, or one is damaged."""
        try:
            return self._read(key)
        except _DamagedError as error:
            self._refused(str(error))
        except _MissingArtifactError as error:
            logging.info(f"{error}; it was in the cache")
        return None

    def put(self, key: str, outputs: dict[str, Any]) -> None:
        """Store the outputs of a step."""
        content = json.dumps(self._serialize_outputs(outputs)).encode()
        write_file(Path(self._entry_path(key)), _digest(key, content) + b"\n" + content)

    def _read(self, key: str) -> dict[str, Any] | None:
        entry = Path(self._entry_path(key))
        try:
            digest, _, content = entry.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _DamagedError(f"its cache entry {entry} cannot be read ({error.strerror})") from error
        if digest != _digest(key, content):
            raise _DamagedError(f"its cache entry {entry} was changed")
        outputs: dict[str, Any] = self._deserialize_outputs(json.loads(content))
        for artifact in _artifacts(outputs):
            if not has_checksums(artifact):
                raise _DamagedError(f"the cached {artifact.uri} has no checksums")
            if found := damage(artifact):
                raise _DamagedError(f"the cached {found}")
        return outputs


def _digest(key: str, content: bytes) -> bytes:
    # With the key, an entry that is copied over that of another step is found, too.
    return hashlib.sha256(key.encode() + b"\n" + content).hexdigest().encode()


def _artifacts(outputs: dict[str, Any]) -> Iterator[dsl.Artifact]:
    for value in outputs.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dsl.Artifact):
                yield item
