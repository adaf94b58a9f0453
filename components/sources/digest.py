"""The digest from which versions and download folders are named."""

import hashlib


def digest(*parts: str) -> str:
    """Return the hex sha256 of strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
