"""Objects and folders of an S3 bucket: ``s3://bucket/key`` and ``s3://bucket/folder/``."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from textgate.components.contracts import InputError
from textgate.components.sources.cache import changed, fetch_verified
from textgate.components.sources.digest import digest
from textgate.components.storage import ObjectSummary, Store


def fetch(uri: str, downloads: Path, version: str | None = None) -> Path:
    """Download an object or a folder, unless this version of it is there already.

    Each object is requested with the ETag that is part of the version (If-Match).

    Raises:
        InputError: Nothing exists at the URI, or the store cannot be reached.
        ConflictError: There is another version at the URI.
    """
    store, key = _parse(uri)
    items = _list_objects(store, key, uri)
    found = _version(items)
    if version not in (None, found):
        raise changed(uri)

    def download(path: Path) -> None:
        if key.endswith("/"):
            store.download_folder(key, path, items)
        else:
            store.download_file(key, path, items[0].etag)

    return fetch_verified(downloads / "s3" / found, PurePosixPath(key).name, uri, download)


def version(uri: str) -> str:
    """Return the digest of the ETags of all objects.

    Raises:
        InputError: Nothing exists at the URI, or the store cannot be reached.
    """
    store, key = _parse(uri)
    return _version(_list_objects(store, key, uri))


def list_s3_files(uri: str, version: str | None = None) -> dict[str, str]:
    """Return the sorted URIs of the objects directly below ``s3://bucket/folder/``, each with its version.

    Raises:
        InputError: Nothing exists at the URI, or the store cannot be reached.
        ConflictError: The folder has another version.
    """
    store, key = _parse(uri)
    items = _list_objects(store, key, uri)
    if version not in (None, _version(items)):
        raise changed(uri)
    names = {item.key.removeprefix(key): _version([item]) for item in items}
    return {f"{uri}{name}": names[name] for name in sorted(names) if name and "/" not in name}


def _list_objects(store: Store, key: str, uri: str) -> list[ObjectSummary]:
    """Return an object, or the objects of a folder."""
    items = [item for item in store.objects(key) if key.endswith("/") or item.key == key]
    if not items:
        raise InputError(f"there is nothing at {uri}")
    return items


def _version(items: Sequence[ObjectSummary]) -> str:
    return digest(*(item.etag for item in items))


def _parse(uri: str) -> tuple[Store, str]:
    bucket = urlsplit(uri).netloc
    key = uri.removeprefix(f"s3://{bucket}/")
    if not bucket or not key or key == uri:
        raise InputError(f"{uri} is not of the form s3://bucket/key or s3://bucket/folder/")
    return Store.from_environment(bucket), key
