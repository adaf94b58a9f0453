"""Errors of the store, and the codes of its answers."""

from typing import Any

from textgate.components.contracts import StoreError

ABSENT = {"404", "NoSuchKey", "NotFound"}
CONDITION_FAILED = {*ABSENT, "409", "412", "PreconditionFailed", "ConditionalRequestConflict"}


class StoreConnectionError(StoreError):
    """The store does not answer, or not properly: an error of the store or the connection, not of one object."""


class CorruptedAnswerError(Exception):
    """An object or a listing, named in the message, arrived with other bytes and should be read again."""


def error_code(error: Any) -> str:
    """Return the code of a ClientError, such as NoSuchKey; for a HEAD it is the HTTP status, such as 404."""
    return str(error.response["Error"]["Code"])
