"""The frame around a step's work in its KFP door.

Standard library only: it is imported before the clock starts, so whatever a step imports for itself counts as its work.
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

ERROR_PREFIX = "textgate error: "
WORK_PREFIX = "textgate worked seconds: "


class InputError(Exception):
    """Something the caller gave cannot be used.

    The message is one sentence for that person: what was wrong, where (file, row, key), what would be right.
    """


@contextmanager
def step_work() -> Iterator[None]:
    """Frame the whole body of a step's door, its imports too.

    An InputError ends the process with one line and exit code 2 instead of a traceback, so that a pod's log ends with
    the sentence. Otherwise the seconds of work are printed, so that a run can tell them from what the pipeline adds.
    """
    started = time.perf_counter()
    try:
        yield
    except InputError as error:
        print(f"{ERROR_PREFIX}{error}", flush=True)
        sys.exit(2)
    finally:
        # On its way out the interpreter would visit every object once more, seconds where torch is among them.
        gc.freeze()
        print(f"{WORK_PREFIX}{time.perf_counter() - started:.3f}", flush=True)
