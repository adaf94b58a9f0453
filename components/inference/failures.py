"""Failures of the libraries that open and run a model, as this package's own errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from textgate.components.contracts import InputError

_LONGEST_REASON = 400
"""Characters of a library's message that are quoted."""


class PredictionError(RuntimeError):
    """Failure of a model on the texts that it was given."""


@contextmanager
def failures_as(error: type[InputError] | type[PredictionError], sentence: str) -> Iterator[None]:
    """Raise ``error`` for whatever the body raises, except the interruption of the process.

    A panic in Rust code, such as the tokenizers', arrives as PyO3's PanicException. It is a BaseException, which would
    end a thread that catches every Exception, and it cannot be imported.

    Args:
        error: Class of the error to raise.
        sentence: Its message, to which the reason is added.
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
        raise error(f"{sentence}: {_reason(failure)}") from failure


def _reason(failure: BaseException) -> str:
    """Return the message of a failure in one line; with its type, unless the type says nothing."""
    message = " ".join(str(failure).split())[:_LONGEST_REASON]
    kind = type(failure).__name__
    return message if message and kind in ("Exception", "PanicException", "Fail") else f"{kind}: {message}"
