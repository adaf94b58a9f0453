"""Version of everything that a recipe reads its rows from."""

from textgate.components.contracts import Source
from textgate.components.sources.digest import digest
from textgate.components.sources.schemes import content_version


def source_version(source: Source) -> str:
    """Return a string that changes when the content of a source changes, or of any of several sources.

    Args:
        source: The recipe's section ``source``. The version of a single source is that of its URI.

    Raises:
        InputError: See ``content_version``.
    """
    versions = [content_version(one.uri) for one in source.sources.values()]
    return versions[0] if len(versions) == 1 else digest(*versions)
