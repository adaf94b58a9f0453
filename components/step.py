"""Context manager for the body of a KFP component: error messages and working time.

It imports the standard library only, before the clock starts, so that all imports of a step count as its work.
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from textgate.components.redaction import redact

ERROR_PREFIX = "textgate error: "
WARNING_PREFIX = "textgate warning: "
"""Beginning of a line that a run shows on the terminal, not only in its log."""
WORK_PREFIX = "textgate worked seconds: "


class InputError(Exception):
    """Error in the user's input.

    The message is one sentence for the user: what is wrong, where (file, row, key), and what would be right. The user
    information and the queries of URLs in it are hidden: a message is printed, logged and stored.
    """

    exit_code: ClassVar[int] = 2
    """Exit code of a command that ends with this error."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class StoreError(InputError):
    """The S3 store refuses a request, does not answer, or answers something else than was written."""

    exit_code = 4


class ConflictError(InputError):
    """Another process changed what this one was about to change; running again is safe."""

    exit_code = 5


class DamagedError(InputError):
    """A stored object can be read, but is not what was written; an outage of the store is no damage."""

    exit_code = 4


@contextmanager
def step_work() -> Iterator[None]:
    """Wrap the complete body of a KFP component, its imports included.

    An InputError ends the process with its message and exit code instead of a traceback, so that the log of a pod
    ends with the message. The seconds of work are printed in any case, so that a run can separate them from the
    overhead of the pipeline.
    """
    started = time.perf_counter()
    try:
        yield
    except InputError as error:
        print(f"{ERROR_PREFIX}{error}", flush=True)
        sys.exit(error.exit_code)
    finally:
        # Skip the garbage collection at exit, which takes seconds if torch is loaded.
        gc.freeze()
        print(f"{WORK_PREFIX}{time.perf_counter() - started:.3f}", flush=True)
