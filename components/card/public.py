"""Removal of private parts from a recipe that is published: passwords, signatures, local paths."""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

# ``checkpoint`` is the name of ``base_model`` in recipes before 0.2.
_ADDRESS_KEYS = {"uri", "base_model", "checkpoint", "bundle", "teacher"}


def public_address(uri: str) -> str:
    """Return the name of a local file, or a URL without user, password and query."""
    if "://" not in uri or uri.startswith("file://"):
        return PurePosixPath(uri).name
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def public_settings(settings: Any) -> Any:
    """Return the settings of a recipe with ``public_address`` applied to every address in them."""
    match settings:
        case dict():
            return {
                key: public_address(value)
                if key in _ADDRESS_KEYS and isinstance(value, str)
                else public_settings(value)
                for key, value in settings.items()
            }
        case list():
            return [public_settings(value) for value in settings]
    return settings
