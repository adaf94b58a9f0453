"""The retry policy of all requests to the store, and one sentence for each way in which they fail.

Every request of ``Store`` may be repeated: writes have the same effect twice, and conditional writes read back whether
an earlier attempt succeeded. The delays grow exponentially with full jitter (AWS Architecture Blog, "Exponential
Backoff And Jitter"), and bodies are part of the request: a body that is cut or that arrives with other bytes is read
again.
"""

import random
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from textgate.components.contracts import StoreError
from textgate.components.step import WARNING_PREFIX
from textgate.components.storage.access import Operation
from textgate.components.storage.errors import (
    AccessDeniedError,
    CorruptedAnswerError,
    StoreConnectionError,
    access_denied,
    error_code,
)

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0
_UNREACHABLE_SECONDS = 10.0
"""Longest wait for a connection. It survives a restart of the store, and a wrong endpoint is reported soon."""
_SHOWN_AFTER = 5.0
_SHOWN_BYTES_PER_SECOND = 2**20
_LARGEST_SKEW = timedelta(minutes=15)
"""Difference between the clocks of client and store above which S3 refuses signatures."""

_UNREACHABLE = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError)
_BROKEN = (HTTPClientError, HTTPError, IncompleteReadError, ResponseParserError, CorruptedAnswerError, ValueError)
"""No answer, not all of it, or a changed one. It is urllib3's HTTPError if the body of a refusal breaks off, and
ValueError if botocore cannot parse a number or time in an answer."""
_NO_KEYS = (NoCredentialsError, PartialCredentialsError)
_REPEATED_STATUS = {408, 409, 412, 429, 500, 502, 503, 504}
"""Also 409 and 412, which reach this module only if the condition of the write holds after all."""
_REPEATED_CODES = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "RequestTimeout",
    "SlowDown",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_NO_RIGHT = {"403", "AccessDenied"}
_DENIED = {*_NO_RIGHT, "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"}
_OPERATIONS: dict[str, Operation] = {
    **dict.fromkeys(("GetObject", "HeadObject"), "read"),
    **dict.fromkeys(("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), "write"),
    "ListObjectsV2": "list",
    "DeleteObject": "delete",
}
"""What a role needs for an operation of S3."""

_Result = TypeVar("_Result")


def with_retries(
    request: Callable[[], _Result], client: Any, bucket: str, patience: float, size: int = 0, key: str | None = None
) -> _Result:
    """Call ``request`` until it succeeds, fails for good, or ``patience`` seconds have passed.

    A line on standard error says that it is waiting, after 5 seconds and one more for each MiB of ``size``.

    Args:
        request: Function that sends one request and reads the complete answer.
        client: S3 client of boto3 that it uses, for messages.
        bucket: Bucket that it uses, for messages.
        patience: Seconds after which no further attempt begins; 0 for one attempt.
        size: Bytes of the request.
        key: Key of the object, or prefix of the listing, for messages.

    Raises:
        AccessDeniedError: The key of the store has no right to this request.
        StoreError: It failed.
    """
    where, began = f"the store at {client.meta.endpoint_url}", time.monotonic()
    waiting = f"waiting for {where}, for up to {patience:.0f} seconds"
    shown = threading.Timer(_SHOWN_AFTER + size / _SHOWN_BYTES_PER_SECOND, _show, [waiting])
    shown.daemon = True
    if patience > _SHOWN_AFTER:
        shown.start()
    try:
        for attempt in count():
            try:
                return request()
            except (BotoCoreError, ClientError, *_BROKEN) as error:
                limit = min(patience, _UNREACHABLE_SECONDS) if isinstance(error, _UNREACHABLE) else patience
                delay = random.uniform(0, min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempt))  # noqa: S311
                if not _is_transient(error) or time.monotonic() + delay > began + limit:
                    raise _store_error(error, where, bucket, key) from error
            time.sleep(delay)
    finally:
        shown.cancel()
    raise AssertionError("count() does not end")


def _show(message: str) -> None:
    print(f"{WARNING_PREFIX}{message}", file=sys.stderr, flush=True)


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status in _REPEATED_STATUS or error_code(error) in _REPEATED_CODES
    return isinstance(error, _BROKEN)


def _store_error(error: Exception, where: str, bucket: str, key: str | None) -> StoreError:
    """Return the error with one sentence for the user; it contains no secret."""
    if isinstance(error, _NO_KEYS):
        return StoreConnectionError(
            f"{where} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or any other that boto3 reads"
        )
    if isinstance(error, ClientError):
        code = error_code(error)
        if code in _DENIED:
            skew = _clock_skew(error)
            if skew or code == "RequestTimeTooSkewed":
                return StoreError(
                    f"{where} refuses requests because the clock of this machine is {skew or 'too far from its own'}: "
                    f"set the clock; S3 accepts a difference of {_LARGEST_SKEW.seconds // 60} minutes"
                )
            if code in _NO_RIGHT and key is not None and (operation := _OPERATIONS.get(error.operation_name)):
                return access_denied(where, operation, f"s3://{bucket}/{key}", key)
            kind = AccessDeniedError if code in _NO_RIGHT else StoreError
            return kind(f"{where} refuses these credentials for the bucket {bucket} ({code})")
        if code == "NoSuchBucket":
            return StoreError(f"{where} has no bucket {bucket}: create it or name another")
        kind = StoreConnectionError if _is_transient(error) else StoreError
        return kind(f"{where} answered {code}: {error.response['Error'].get('Message', '')}")
    if isinstance(error, _UNREACHABLE):
        return StoreConnectionError(f"{where} cannot be reached: {error}")
    if isinstance(error, CorruptedAnswerError):
        return StoreConnectionError(f"{error} arrives with other bytes at every attempt")
    return StoreConnectionError(f"{where} does not answer: {error}")


def _now() -> datetime:
    return datetime.now(UTC)


def _clock_skew(error: ClientError) -> str | None:
    """Return how far this machine's clock is off that of the store, such as "20 minutes ahead", or None if it is not.

    A HEAD that is refused has no error code in its answer, but every answer has the header Date.
    """
    try:
        date = parsedate_to_datetime(error.response["ResponseMetadata"]["HTTPHeaders"]["date"])
        skew = _now() - date.replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return None
    if abs(skew) <= _LARGEST_SKEW:
        return None
    return f"{abs(skew) // timedelta(minutes=1)} minutes {'ahead' if skew > timedelta() else 'behind'}"
