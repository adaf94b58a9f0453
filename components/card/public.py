"""What of a recipe may be shown to everybody: no password in an address, no signature, no folder of somebody's home."""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_ADDRESSES = {"uri", "checkpoint", "bundle", "teacher"}


def public_address(uri: str) -> str:
    """Of a local path its name; of a URL all but who asks and what it is asked with."""
    if "://" not in uri or uri.startswith("file://"):
        return PurePosixPath(uri).name
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def public_settings(settings: Any) -> Any:
    """Settings of a recipe with ``public_address`` for every address in them."""
    match settings:
        case dict():
            return {
                key: public_address(value) if key in _ADDRESSES and isinstance(value, str) else public_settings(value)
                for key, value in settings.items()
            }
        case list():
            return [public_settings(value) for value in settings]
    return settings
