"""Errors of the store, and the codes of its answers."""

from typing import Any

from textgate.components.contracts import DamagedError, StoreError
from textgate.components.storage.access import Operation, roles_that_may

ABSENT = {"404", "NoSuchKey", "NotFound"}
CONDITION_FAILED = {*ABSENT, "409", "412", "PreconditionFailed", "ConditionalRequestConflict"}


class StoreConnectionError(StoreError):
    """The store does not answer, or not properly: an error of the store or the connection, not of one object."""


class AccessDeniedError(StoreError):
    """The store knows the key, but the key has no right to this request."""


class DamagedObjectError(DamagedError):
    """Damaged object of the store."""

    def __init__(self, message: str, etag: str) -> None:
        super().__init__(message)
        self.etag = etag
        """ETag of the damaged content, with which it can be replaced by compare-and-swap."""


class CorruptedAnswerError(Exception):
    """An object or a listing, named in the message, arrived with other bytes and should be read again."""


def access_denied(where: str, operation: Operation, uri: str, key: str) -> AccessDeniedError:
    """Return the error about a request that the store refuses to this key, with the roles that it is meant for.

    Args:
        where: Store, such as "the store at https://…".
        operation: What was requested.
        uri: URI of the object or of the listed prefix.
        key: Its key.
    """
    roles = " or ".join(roles_that_may(operation, key))
    meant = f"only the role {roles} may" if roles else "no role of textgate may, only a key for the complete bucket"
    return AccessDeniedError(f"{where} does not let this S3 key {operation} {uri}: {meant} (textgate store access)")


def error_code(error: Any) -> str:
    """Return the code of a ClientError, such as NoSuchKey; for a HEAD it is the HTTP status, such as 404."""
    return str(error.response["Error"]["Code"])
