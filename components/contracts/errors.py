"""The one exception a person can cause, and how a step ends on it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

ERROR_PREFIX = "textgate error: "


class InputError(Exception):
    """Something the caller gave cannot be used.

    The message is one sentence for that person: what was wrong, where (file, row, key), what would be right.
    """


@contextmanager
def exits_on_input_error() -> Iterator[None]:
    """End the process with one line and exit code 2, instead of a traceback, when the body raises InputError.

    Every step's KFP door wraps its work in this, so that a pod's log ends with the sentence and a runner can read it.
    """
    try:
        yield
    except InputError as error:
        print(f"{ERROR_PREFIX}{error}", flush=True)
        sys.exit(2)
