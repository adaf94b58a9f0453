"""Restore: replace the damaged files of a version by those of the bundle that the version is named after.

A version never changes: its name is the fingerprint of a manifest that says which bytes are right.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from textgate.components.contracts import ModelBundle
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.storage.damage import check_content, read_object
from textgate.components.storage.errors import DamagedObjectError
from textgate.components.storage.model_ref import VERSION_CHARACTERS
from textgate.components.storage.s3 import Store


def restore_version(store: Store, model: str, folder: Path) -> None:
    """Replace the damaged files of a bundle's version; files that are missing are left to ``Registry.publish``.

    Args:
        store: Store of the registry.
        model: Name of the model.
        folder: Folder of the bundle.
    """
    manifest = bundle = ModelBundle.load(folder)
    prefix = f"models/{model}/versions/{bundle.fingerprint[:VERSION_CHARACTERS]}"
    with _replacing_damaged(store, f"{prefix}/{MANIFEST}", folder / MANIFEST):
        if read := read_object(store, f"{prefix}/{MANIFEST}", ModelBundle.parse):
            manifest = read[0]
    for name, entry in bundle.files.items():
        # Bundles of one version may differ in the keys of the texts that they were trained on.
        if manifest.files.get(name) == entry:
            with _replacing_damaged(store, f"{prefix}/{name}", folder / name):
                read_object(store, f"{prefix}/{name}", partial(check_content, entry))


@contextmanager
def _replacing_damaged(store: Store, key: str, path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedObjectError as error:
        store.replace(key, path.read_bytes(), error.etag)
