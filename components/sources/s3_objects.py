"""Objects and folders of an S3 bucket: ``s3://bucket/key`` and ``s3://bucket/folder/``."""

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from textgate.components.contracts import InputError, new_folder
from textgate.components.sources.digest import digest
from textgate.components.storage import Store


def fetch(uri: str, downloads: Path) -> Path:
    """Download an object or a folder, unless this version of it is there already.

    Raises:
        InputError: Nothing exists at the URI, or the store cannot be reached.
    """
    store, key = _parse(uri)
    target = downloads / "s3" / version(uri) / PurePosixPath(key).name
    if target.exists():
        return target
    if key.endswith("/"):
        with new_folder(target) as folder:
            store.download_folder(key, folder)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    store.download_file(key, partial)
    return partial.rename(target)


def version(uri: str) -> str:
    """Return the digest of the ETags of all objects.

    Raises:
        InputError: Nothing exists at the URI, or the store cannot be reached.
    """
    store, key = _parse(uri)
    etags = [item.etag for item in store.objects(key) if key.endswith("/") or item.key == key]
    if not etags:
        raise InputError(f"there is nothing at {uri}")
    return digest(*etags)


def list_s3_files(uri: str) -> list[str]:
    """Return the sorted URIs of the objects directly below ``s3://bucket/folder/``.

    Raises:
        InputError: The store cannot be reached.
    """
    store, key = _parse(uri)
    names = (item.key.removeprefix(key) for item in store.objects(key))
    return sorted(f"{uri}{name}" for name in names if name and "/" not in name)


def _parse(uri: str) -> tuple[Store, str]:
    bucket = urlsplit(uri).netloc
    key = uri.removeprefix(f"s3://{bucket}/")
    if not bucket or not key or key == uri:
        raise InputError(f"{uri} is not of the form s3://bucket/key or s3://bucket/folder/")
    return Store.from_environment(bucket), key
