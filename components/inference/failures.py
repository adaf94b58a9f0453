"""Failures of the libraries that open and run a model, as this package's own errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from textgate.components.contracts import InputError

_MAX_CHARACTERS = 500
"""Longest description of an error."""
_KINDS_WITHOUT_MEANING = ("Exception", "PanicException", "Fail")


class PredictionError(RuntimeError):
    """Failure of a model on the texts that it was given."""


@contextmanager
def failures_as(error: type[InputError] | type[PredictionError], sentence: str | None = None) -> Iterator[None]:
    """Raise ``error`` for whatever the body raises, except the interruption of the process.

    A panic in Rust code, such as the tokenizers', arrives as PyO3's PanicException. It is a BaseException, which would
    end a thread that catches every Exception, and it cannot be imported.

    Args:
        error: Class of the error to raise.
        sentence: Its message, to which the reason is added; if None, the reason is the message.
    """
    try:
        yield
    except (InputError, PredictionError) as failure:
        if isinstance(failure, error):
            raise
        raise error(str(failure)) from failure
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as failure:
        reason = describe(failure)
        raise error(f"{sentence}: {reason}" if sentence else reason) from failure


def describe(failure: BaseException) -> str:
    """Return a failure as one line of at most 500 characters: its message, after its type if that says anything."""
    try:
        message = " ".join(str(failure).split())
    except Exception:  # an error that cannot be printed
        message = ""
    kind = type(failure).__name__
    if not isinstance(failure, InputError | PredictionError) and not (message and kind in _KINDS_WITHOUT_MEANING):
        message = f"{kind}: {message}"
    return message if len(message) <= _MAX_CHARACTERS else f"{message[: _MAX_CHARACTERS - 1]}…"
