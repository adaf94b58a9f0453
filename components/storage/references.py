"""Finished systems by reference: ``model``, ``model@channel`` or ``model@version`` in a registry, or a folder."""

from pathlib import Path

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.storage.fetch import fetch
from textgate.components.storage.registry import ModelRef, Registry


def is_folder(reference: str) -> bool:
    """Whether a reference is a path or URI; no model's name has a slash or a dot."""
    return "/" in reference or "." in reference


def may_change(reference: str) -> bool:
    """Whether a reference may stand for another bundle tomorrow: all but ``model@version`` may."""
    return is_folder(reference) or ModelRef.parse(reference).version is None


def pinned(reference: str, registry: Registry) -> str:
    """``model@version``, as the reference stands now; a folder's as it is.

    Raises:
        InputError: no such model, or its channel points at nothing yet.
    """
    if is_folder(reference):
        return reference
    target = ModelRef.parse(reference)
    try:
        return f"{target.model}@{registry.version(target)}"
    except InputError as error:
        raise _needed(reference, error) from error


def bring(reference: str, registry: Registry, scratch: Path) -> tuple[Path, ModelBundle]:
    """The bundle that a reference stands for, checked: in its own folder, or below ``scratch`` if it is not there yet.

    Raises:
        InputError: no such model, version or folder, or what is there is no whole bundle.
    """
    try:
        if is_folder(reference):
            folder = fetch(reference, scratch) if "://" in reference else Path(reference)
        else:
            target = ModelRef.parse(reference)
            version = registry.version(target)
            folder = scratch / "bundles" / target.model / version
            if not folder.exists():
                registry.download(target.model, version, folder)
        return folder, ModelBundle.load(folder)
    except InputError as error:
        raise _needed(reference, error) from error


def _needed(reference: str, error: InputError) -> InputError:
    return InputError(f"the finished system {reference}, which the recipe builds on, must be there first: {error}")
