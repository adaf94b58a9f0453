"""Version of everything that a recipe reads its rows from."""

from textgate.components.contracts import Source
from textgate.components.sources.digest import digest
from textgate.components.sources.schemes import content_version


def source_version(source: Source) -> str:
    """Return a string that changes when the content of any of the sources, or of the corrections, changes.

    Args:
        source: The recipe's section ``source``. The version of a single source is that of its URI.

    Raises:
        InputError: See ``content_version``.
    """
    uris = [one.uri for one in source.sources.values()]
    versions = [content_version(uri) for uri in [*uris, *([source.corrections] if source.corrections else [])]]
    return versions[0] if len(versions) == 1 else digest(*versions)
