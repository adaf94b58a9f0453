"""Context manager for the body of a KFP component: checksums, error messages and working time.

It imports the standard library only, before the clock starts, so that all imports of a step count as its work.
"""

import gc
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from textgate.components.checksums import Artifact, damage, record_checksums
from textgate.components.redaction import redact

_ERROR = "textgate error"
_ERROR_LINE = re.compile(rf"{_ERROR}(?: (\d+))?: (.*)", re.DOTALL)
WARNING_PREFIX = "textgate warning: "
"""Beginning of a line that a run shows on the terminal, not only in its log."""
WORK_PREFIX = "textgate worked seconds: "

_DAMAGED = (
    "an artifact is not as its step wrote it: {}; run again (on a cluster, first delete the run that the path names, "
    "whose results Kubeflow Pipelines takes from its cache)"
)


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
    """Stored content can be read, but is not what was written; an outage of the store is no damage."""

    exit_code = 4


class MachineError(InputError):
    """This machine lacks what the command needs: disk space, a permission, memory, open files."""

    exit_code = 6


def error_line(error: InputError) -> str:
    """Return the line by which a step's output tells an error and its exit code."""
    code = "" if error.exit_code == InputError.exit_code else f" {error.exit_code}"
    return f"{_ERROR}{code}: {error}"


def parse_error(line: str) -> InputError | None:
    """Return the error of an ``error_line``, or None for another line."""
    match = _ERROR_LINE.match(line)
    if match is None:
        return None
    kinds = {kind.exit_code: kind for kind in (StoreError, ConflictError, MachineError)}
    return kinds.get(int(match[1] or 0), InputError)(match[2])


@contextmanager
def step_work(*, inputs: Iterable[Artifact | None] = (), outputs: Iterable[Artifact] = ()) -> Iterator[None]:
    """Wrap the complete body of a KFP component, its imports included.

    The checksums of the inputs are compared before the body runs, and those of the outputs recorded after it.

    An InputError ends the process with its message and exit code instead of a traceback, so that the log of a pod
    ends with the message. So does an error of the machine, such as a full disk; its traceback is printed before. The
    seconds of work are printed in any case, so that a run can separate them from the overhead of the pipeline. SIGTERM,
    with which a run or Kubernetes ends a step, raises SystemExit, so that temporary files are removed.

    Args:
        inputs: All input artifacts of the component; None for an optional one that is not given.
        outputs: All output artifacts of the component.
    """
    started = time.perf_counter()
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        for artifact in inputs:
            if artifact is not None and (found := damage(artifact)):
                raise DamagedError(_DAMAGED.format(found))
        yield
        for artifact in outputs:
            record_checksums(artifact)
    except InputError as error:
        print(error_line(error), flush=True)
        sys.exit(error.exit_code)
    except Exception as error:
        from textgate.components.machine_errors import machine_error

        if (sentence := machine_error(error)) is None:
            raise
        traceback.print_exc()
        print(error_line(sentence), flush=True)
        sys.exit(sentence.exit_code)
    finally:
        # Skip the garbage collection at exit, which takes seconds if torch is loaded.
        gc.freeze()
        signal.signal(signal.SIGTERM, before)
        print(f"{WORK_PREFIX}{time.perf_counter() - started:.3f}", flush=True)


def _exit(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)
