"""References to finished models: ``model``, ``model@channel`` or ``model@version`` in a registry, a path or a URI."""

from functools import partial
from pathlib import Path

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.sources.cache import fetch_once, is_bundle
from textgate.components.sources.schemes import fetch
from textgate.components.storage import ModelRef, Registry


def is_path(reference: str) -> bool:
    """Return whether a reference is a path or URI; model names have neither slash nor dot."""
    return "/" in reference or "." in reference


def is_local(uri: str) -> bool:
    """Return whether a URI or path names a file of one machine, such as ``films.csv`` or ``file:///data/films.csv``."""
    return "://" not in uri or uri.startswith("file://")


def is_mutable(reference: str) -> bool:
    """Return whether a reference may point at another bundle later; only ``model@version`` is immutable."""
    return is_path(reference) or ModelRef.parse(reference).version is None


def resolve_ref(reference: str, registry: Registry) -> str:
    """Resolve a reference to ``model@version``; a path or URI is returned unchanged.

    Raises:
        InputError: The model does not exist, or its channel points at no version.
    """
    if is_path(reference):
        return reference
    ref = ModelRef.parse(reference)
    try:
        return f"{ref.model}@{registry.resolve(ref)}"
    except InputError as error:
        raise _missing(reference, error) from error


def fetch_bundle(reference: str, registry: Registry, scratch: Path) -> tuple[Path, ModelBundle]:
    """Fetch the bundle that a reference points at.

    Args:
        reference: Model reference, path or URI.
        registry: Registry that the model is looked up in.
        scratch: Folder for downloads; a local folder is used in place.

    Returns:
        The folder of the bundle, and its verified manifest.

    Raises:
        InputError: The model, version or folder does not exist, or does not match its manifest.
    """
    try:
        if is_path(reference):
            folder = fetch(reference, scratch) if "://" in reference else Path(reference)
        else:
            ref = ModelRef.parse(reference)
            version = registry.resolve(ref)
            folder = scratch / "bundles" / ref.model / version
            download_version(registry, ref.model, version, folder)
        return folder, ModelBundle.load(folder)
    except InputError as error:
        raise _missing(reference, error) from error


def download_version(registry: Registry, model: str, version: str, folder: Path) -> None:
    """Download a version of a model into a cache, unless it is there and matches its manifest; others wait meanwhile.

    Raises:
        InputError: The version does not exist, or a file in the store has been changed.
    """
    download = partial(registry.download, model, version, folder)
    fetch_once(folder, f"{model}@{version}", lambda: is_bundle(folder, version), download)


def _missing(reference: str, error: InputError) -> InputError:
    return InputError(f"the finished system {reference}, which the recipe builds on, must be there first: {error}")
