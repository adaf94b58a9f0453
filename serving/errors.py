"""The error that a request ends with, and the bounds of what error messages quote."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from textgate.components.contracts import InputError

MAX_REASON = 500
"""Longest message about an error that a model or a client caused, in characters."""


class RequestError(Exception):
    """Error for the client: one sentence and an HTTP status, which gRPC maps to its own status codes.

    The sentence may quote what the client sent. It is shortened to ``MAX_REASON`` characters, and characters that
    cannot be printed are escaped.
    """

    def __init__(
        self, status: int, message: str, retry_after: int | None = None, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        message = shorten(printable(shorten(message)))
        super().__init__(message)
        self.status, self.message = status, message
        self.retry_after = retry_after
        """Seconds after which the client should try again (``Retry-After``)."""
        self.headers = headers
        """Further headers of the HTTP response, such as ``Allow`` for a 405."""


class ModelRefusedError(InputError):
    """A version exists that cannot be served; the message is the reason."""


@contextmanager
def failures_as_input_errors() -> Iterator[None]:
    """Raise InputError for whatever foreign code raises, except KeyboardInterrupt and SystemExit.

    A Rust panic arrives as PyO3's PanicException, which is a BaseException and no Exception.
    """
    try:
        yield
    except (InputError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise InputError(describe(error)) from error


def describe(error: BaseException) -> str:
    """Return an error as one line of at most ``MAX_REASON`` characters: its message, with its type if it is foreign."""
    try:
        message = str(error)
    except Exception:  # an error that cannot be printed
        message = ""
    if not isinstance(error, InputError):
        message = f"{type(error).__name__}: {message}"
    return shorten(" ".join(message.split()))


def shorten(text: str, length: int = MAX_REASON) -> str:
    """Return ``text``, cut off after ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """Return ``text`` with the characters that cannot be printed, such as control characters, as escape sequences."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def list_names(names: Iterable[str], length: int = 300) -> str:
    """Return names separated by commas, as many as fit into ``length`` characters, and how many are left out."""
    listed, left_out, used = [], 0, 0
    for name in names:
        used += len(name) + 2
        if used <= length and not left_out:
            listed.append(name)
        else:
            left_out += 1
    if not listed and not left_out:
        return "none"
    return ", ".join([*listed, *([f"{left_out} more"] if left_out else [])])
