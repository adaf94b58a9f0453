"""Repositories of the Hugging Face hub: ``hf://org/name[@revision]``, of data sets also ``hf://org/name/subset``."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import InputError, ModelBundle, new_folder
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.sources.cache import fetch_once, is_bundle

# A path that starts with a slash is a folder on this machine, which the library reads like a data set of the hub.
_DATASET_URI = re.compile(r"hf://(?P<name>/[^@]+|[^/@]+(/[^/@]+)?)(/(?P<subset>[^/@]+))?(@(?P<revision>[^@]+))?")
_URI = re.compile(r"hf://(?P<name>[^@]+?)(@(?P<revision>[^@]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MODEL_FILES = ["*.json", "*.txt", "*.safetensors", "*.model", "*.tiktoken", "*.py"]
# The same weights in other layouts.
_IGNORED_FILES = ["consolidated*", "original/*", "onnx/*", "openvino/*"]


def fetch(uri: str, downloads: Path, version: str | None = None) -> Path:
    """Download a model repository into the cache of huggingface_hub; ``downloads`` is not used.

    That cache appears whole, and one process at a time writes a file of it.

    Raises:
        InputError: The repository or revision does not exist, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    name, revision = parse_hub_uri(uri)
    try:
        return Path(
            snapshot_download(
                name, revision=version or revision, allow_patterns=_MODEL_FILES, ignore_patterns=_IGNORED_FILES
            )
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(f"{uri} cannot be fetched: {_first_line(error)}") from error


def fetch_hub_bundle(uri: str, downloads: Path) -> Path:
    """Download the bundle in a model repository, as ``textgate publish`` pushes it, and nothing else of the repository.

    Returns:
        Folder of the bundle, below ``downloads``.

    Raises:
        InputError: The repository holds no bundle or a damaged one, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    name, revision = parse_hub_uri(uri)
    try:
        commit = Path(snapshot_download(name, revision=revision, allow_patterns=[MANIFEST]))
        if not (commit / MANIFEST).exists():
            raise InputError(f"{uri} holds no bundle: it has no {MANIFEST}")
        bundle = ModelBundle.parse((commit / MANIFEST).read_bytes(), f"{MANIFEST} of {uri}")
        folder = downloads / "bundles" / bundle.fingerprint

        def download() -> None:
            with new_folder(folder, keep_existing=True) as new:
                snapshot_download(name, revision=commit.name, allow_patterns=[MANIFEST, *bundle.files], local_dir=new)
                shutil.rmtree(new / ".cache")
                ModelBundle.load(new)

        fetch_once(folder, uri, lambda: is_bundle(folder, bundle.fingerprint), download)
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(f"{uri} cannot be fetched: {_first_line(error)}") from error
    return folder


def version(uri: str) -> str:
    """Return the commit of a data set; a revision that is a commit is returned without a request.

    Raises:
        InputError: The data set or revision does not exist, or cannot be reached.
    """
    from huggingface_hub import HfApi

    name, _, revision = HubDataset.parse(uri)
    if revision and _COMMIT.fullmatch(revision):
        return revision
    try:
        return str(HfApi().dataset_info(name, revision=revision).sha)
    except Exception as error:  # the client raises its own errors, those of its transport, and OSErrors
        raise InputError(f"the commit of {uri} cannot be looked up: {_first_line(error)}") from error


class HubDataset(NamedTuple):
    """Data set of the hub, as ``hf://org/name[/subset][@revision]`` names it."""

    name: str
    """Id of the repository."""
    subset: str | None
    """Name of the configuration; None if the data set has only one."""
    revision: str | None
    """Branch, tag or commit."""

    @classmethod
    def parse(cls, uri: str) -> "HubDataset":
        """Parse a URI.

        Raises:
            InputError: The URI has another form.
        """
        match = _DATASET_URI.fullmatch(uri)
        if match is None:
            raise InputError(f"{uri} is not of the form hf://org/name, hf://org/name/subset or hf://org/name@revision")
        return cls(match["name"], match["subset"], match["revision"])


def parse_hub_uri(uri: str) -> tuple[str, str | None]:
    """Return name and revision of ``hf://org/name[@revision]``.

    Raises:
        InputError: The URI has another form.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise InputError(f"{uri} is not of the form hf://org/name or hf://org/name@revision")
    return match["name"], match["revision"]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
