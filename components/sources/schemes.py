"""The URI schemes that recipes may use: how each is fetched, and how a change behind it is noticed.

A new scheme is a module with a ``fetch`` and a ``version`` function, and an entry in ``_SCHEMES``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from textgate.components.contracts import InputError
from textgate.components.sources import feedback, hub, local, s3_objects, web, wheels


@dataclass(frozen=True)
class _Scheme:
    fetch: Callable[[str, Path, str | None], Path]
    """Takes a URI, the download folder and a version; returns the local file or folder."""
    version: Callable[[str], str]


_SCHEMES = {
    "file": _Scheme(local.fetch, local.version),
    "s3": _Scheme(s3_objects.fetch, s3_objects.version),
    "https": _Scheme(web.fetch, web.version),
    "http": _Scheme(web.fetch, web.version),  # loopback only
    "hf": _Scheme(hub.fetch, hub.version),
    "feedback": _Scheme(feedback.fetch, feedback.version),
    "pypi": _Scheme(wheels.fetch, wheels.version),
}
_SUPPORTED = "a local path, s3://, https://, hf://, pypi:// and feedback://"


def fetch(uri: str, downloads: Path, version: str | None = None) -> Path:
    """Fetch a URI to local disk.

    Args:
        uri: A path, or a URI of a supported scheme; ``hf://`` names a model repository.
        downloads: Folder that keeps what is downloaded.
        version: The ``content_version`` to fetch; None fetches the present one. A local path is used in place: see
            ``unchanged``.

    Returns:
        The local file or folder.

    Raises:
        InputError: Nothing exists at the URI, its checksum differs, or the scheme is unknown.
        ConflictError: The URI has another version by now.
    """
    return _scheme(uri).fetch(uri, downloads, version)


def unchanged(uri: str, version: str) -> AbstractContextManager[None]:
    """Return a context in whose body a local path must have a version; what is downloaded cannot change.

    Raises:
        ConflictError: On entry or exit: the path has another version, or was changed in between.
    """
    scheme = _scheme(uri)
    return local.unchanged(uri, version) if scheme is _SCHEMES["file"] else nullcontext()


def content_version(uri: str) -> str:
    """Return a string that changes when the content behind a URI changes.

    Args:
        uri: A path, or a URI of a supported scheme; for ``hf://`` the version is the commit of the data set.

    Raises:
        InputError: Nothing exists at the URI, it cannot be reached, or the scheme is unknown.
    """
    return _scheme(uri).version(uri)


def cache_version(uri: str) -> str | None:
    """Return a string that identifies the content behind the URI of a base model, together with the URI.

    Returns:
        An empty string for a pinned URI, the ``content_version`` of a local path, and None for what may have changed
        when a step reads it: ``s3://``, ``https://``, and a path that does not exist on this machine.
    """
    if uri.startswith(("hf://", "pypi://")):
        return ""
    if _scheme(uri) is not _SCHEMES["file"]:
        return None
    try:
        return content_version(uri)
    except InputError:
        return None


def _scheme(uri: str) -> _Scheme:
    scheme = _SCHEMES.get(urlsplit(uri).scheme if "://" in uri else "file")
    if scheme is None:
        raise InputError(f"the scheme of {uri} is unknown: {_SUPPORTED} are supported")
    return scheme
