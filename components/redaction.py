"""Removal of secrets from text: the user information and the query of every URL, as pip prints URLs.

A presigned URL carries its signature in the query, and the key of a private data set may be in either part.
"""

import re

HIDDEN = "****"
_USER_INFORMATION = re.compile(r"\b(?!hf:)([a-z][a-z0-9+.-]*://)[^\s/?#\"<>]*@", re.IGNORECASE)
"""Not of ``hf://name@revision``."""
_QUERY = re.compile(r"\b(https?://[^\s?#\"<>]*\?)[^\s\"<>]+", re.IGNORECASE)
"""Not of ``s3://``, where ``?`` is a character of the key."""


def redact(text: str) -> str:
    """Return ``text`` with the user information and the query of every URL in it replaced by ``****``."""
    return _QUERY.sub(rf"\1{HIDDEN}", _USER_INFORMATION.sub(rf"\1{HIDDEN}@", text))
