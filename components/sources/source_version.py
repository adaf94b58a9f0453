"""Versions of everything that a recipe reads its rows from."""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from textgate.components.contracts import Source
from textgate.components.sources.schemes import content_version, unchanged

_VERSION = re.compile("[0-9a-f]{64}|[0-9a-f]{40}")
"""A digest, or a commit of the hub."""


def source_version(source: Source) -> str:
    """Return a string that changes when the content of any of the sources, or of the corrections, changes.

    Args:
        source: The recipe's section ``source``.

    Returns:
        The version of each URI, separated by spaces.

    Raises:
        InputError: See ``content_version``.
    """
    return " ".join(map(content_version, _uris(source)))


def is_version_of(source: Source, version: str) -> bool:
    """Return whether ``version`` has the form of a ``source_version`` of the source."""
    versions = version.split()
    return len(versions) == len(_uris(source)) and all(map(_VERSION.fullmatch, versions))


@contextmanager
def pinned(source: Source, version: str) -> Iterator[Mapping[str, str]]:
    """Determine the versions to read, and make sure that a local source does not change in the body.

    Args:
        source: The recipe's section ``source``.
        version: Result of ``source_version`` at the start of the run. Any other string, such as the id of a scheduled
            run, says that the version is not known: the present one is read.

    Yields:
        The version of each URI, for ``fetch``; a data set of the hub has none if ``version`` is not known.

    Raises:
        InputError: See ``content_version``.
        ConflictError: A source has another version by now, or a local one changes in the body.
    """
    uris, given = _uris(source), version.split()
    if not is_version_of(source, version):
        given = ["" if uri.startswith("hf://") else content_version(uri) for uri in uris]
    versions = dict(zip(uris, given, strict=True))
    with ExitStack() as stack:
        for uri, one in versions.items():
            stack.enter_context(unchanged(uri, one))
        yield versions


def joined(versions: Mapping[str, str]) -> str:
    """Return versions as one string, for which ``pinned`` gives them; empty if one is not known."""
    return " ".join(versions.values()) if all(versions.values()) else ""


def _uris(source: Source) -> list[str]:
    """Return the different URIs of a source, in its order."""
    uris = [*(one.uri for one in source.sources.values()), *([source.corrections] if source.corrections else [])]
    return list(dict.fromkeys(uris))
