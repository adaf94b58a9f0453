"""Damaged objects: read twice before they count as damaged, then named in the log and skipped.

A damaged object is one that the store returns and that is not what was written. What the store does not return, because
it is unreachable or answers with an error, is an outage, which the store's own errors report.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import TypeVar

from textgate.components.contracts import DamagedError, InputError, ModelBundle
from textgate.components.contracts.bundle import MANIFEST, FileEntry
from textgate.components.storage.errors import DamagedObjectError
from textgate.components.storage.s3 import ObjectContent, Store
from textgate.components.storage.transfers import object_sha256

_LOGGER = logging.getLogger("textgate.registry")
_LARGEST_READ = 64 * 2**20
"""Bytes of the largest file that is read before a channel moves; a rollback does not wait for a model of many GB."""
_Content = TypeVar("_Content")


def read_object(
    store: Store, key: str, parse: Callable[[bytes, str], _Content]
) -> tuple[_Content, ObjectContent] | None:
    """Read and parse an object, or return None if it does not exist.

    An object that cannot be parsed is read once more, because the connection may have changed it.

    Args:
        store: Store of the object.
        key: Key of the object.
        parse: Function of the bytes and the name of the object in error messages; it raises InputError.

    Raises:
        DamagedObjectError: The object cannot be parsed.
    """
    with suppress(DamagedError):
        return _read(store, key, parse)
    # Listed before the second attempt: compare-and-swap with this ETag replaces nothing that was written after it.
    etag = next((item.etag for item in store.objects(key) if item.key == key), "")
    try:
        return _read(store, key, parse)
    except DamagedError as error:
        raise DamagedObjectError(str(error), etag) from error


def _read(store: Store, key: str, parse: Callable[[bytes, str], _Content]) -> tuple[_Content, ObjectContent] | None:
    if (stored := store.get(key)) is None:
        return None
    try:
        return parse(stored.data, store.uri(key)), stored
    except InputError as error:
        raise DamagedError(str(error)) from error


@contextmanager
def skip_damaged(consequence: str) -> Iterator[None]:
    """Log a DamagedError of the body as a warning and go on after it.

    Args:
        consequence: What is done without the object, the end of the sentence.
    """
    try:
        yield
    except DamagedError as error:
        _warn_once(f"{error}: {consequence}")


@cache
def _warn_once(message: str) -> None:
    """Log a warning once per process; a command reads the same objects several times."""
    _LOGGER.warning("Warning: %s", message)


def verify_files(store: Store, prefix: str, bundle: ModelBundle) -> None:
    """Check the stored files of a bundle against its manifest: their names, sizes and sha256.

    Files up to 64 MiB are read. The sha256 of a larger one is that in its metadata; without it, the file is read, too.

    Raises:
        DamagedError: A file is missing, not listed, or has another size or sha256, in two attempts.
    """
    if _wrong_size(store, prefix, bundle) and (damage := _wrong_size(store, prefix, bundle)):
        raise DamagedError(damage)
    for name, entry in bundle.files.items():
        key = f"{prefix}/{name}"
        if entry.size > _LARGEST_READ:
            if not any(_is_written_as(entry, store, key) for _ in range(2)):
                raise DamagedError(f"{store.uri(key)} has been changed: its sha256 is not that of the manifest")
        elif read_object(store, key, partial(check_content, entry)) is None:
            raise DamagedError(f"{store.uri(key)} is missing")


def _is_written_as(entry: FileEntry, store: Store, key: str) -> bool:
    head = store.head(key)
    return head is not None and object_sha256(store, key, head) == entry.sha256


def _wrong_size(store: Store, prefix: str, bundle: ModelBundle) -> str | None:
    """Return what is wrong with the names and sizes of the stored files, or None."""
    sizes = {item.key[len(prefix) + 1 :]: item.size for item in store.objects(f"{prefix}/")}
    for name in sorted(sizes.keys() - bundle.files.keys() - {MANIFEST}):
        return f"{store.uri(f'{prefix}/{name}')} is not in the manifest"
    for name, entry in bundle.files.items():
        if name not in sizes:
            return f"{store.uri(f'{prefix}/{name}')} is missing"
        if sizes[name] != entry.size:
            return f"{store.uri(f'{prefix}/{name}')} has {sizes[name]:,} bytes instead of {entry.size:,}"
    return None


def check_content(entry: FileEntry, data: bytes, where: str) -> None:
    """Raise InputError unless the bytes are those of a file in a manifest; ``where`` names the file."""
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise InputError(f"{where} has been changed: its sha256 is not that of the manifest")
