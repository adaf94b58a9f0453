"""The error that a request ends with, and the bounds of what error messages quote."""

from collections.abc import Iterable, Sequence

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
