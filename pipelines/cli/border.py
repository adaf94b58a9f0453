"""End of every command: one sentence and an exit code for each error, each signal and each broken output.

Exit codes: 0 success, 1 a step or the cluster failed or a bug, 2 wrong input, 3 rejected with --fail-on-reject, 4 the
store, 5 a conflict with another process, 6 this machine, 128 + n signal n. Errors carry theirs as ``exit_code``. A
command whose standard output is closed by its reader, such as ``head``, ends without a word as if by SIGPIPE (141).
"""

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO, cast

import click

from textgate.components.contracts import InputError, MachineError
from textgate.components.machine_errors import machine_errors
from textgate.pipelines.interrupts import SIGNALS, Interrupted, raised_signals
from textgate.pipelines.terminal import Output, PrintableStream

_LAST_SECONDS = 0.8
"""Time after a signal in which a command cleans up."""
_SHOW_CURSOR = b"\x1b[?25h"


def replace_streams() -> None:
    """Replace standard output and error: they cannot control the terminal, and fail in one sentence.

    They stay replaced: Python prints the traceback of a bug after the command. A command goes on without a standard
    error that cannot be written.
    """
    sys.stdout = PrintableStream(cast(TextIO, Output(sys.stdout, _refuse_output)))
    sys.stderr = PrintableStream(cast(TextIO, Output(sys.stderr, lambda _: None)))


def _refuse_output(error: OSError) -> NoReturn:
    if error.errno == errno.EPIPE:
        sys.exit(128 + signal.SIGPIPE)
    raise MachineError(f"standard output cannot be written: {error.strerror}") from error


@contextmanager
def one_sentence() -> Iterator[None]:
    """Exit with one sentence and the error's exit code, if the body raises an error that is no bug."""
    try:
        with machine_errors():
            yield
    except (InputError, Interrupted) as error:
        message = f"{error}: {error.resume}" if isinstance(error, Interrupted) else f"Error: {error}"
        for line in (message, *getattr(error, "__notes__", ())):
            click.echo(line, err=True)
        if isinstance(error, Interrupted):
            # At once: at exit, Python waits for uploads in other threads.
            sys.stdout.flush()
            os._exit(error.exit_code)
        sys.exit(error.exit_code)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise ``Interrupted`` for a signal, and end the process within a second also if nothing catches it.

    The main thread may be in a call that does not return, or wait for a thread. The system writes the number of a
    signal to the wakeup file descriptor (see ``signal.set_wakeup_fd``), which a thread of this process reads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_after_signal, args=(ours,), daemon=True).start()
    try:
        with raised_signals():
            yield
    finally:
        signal.set_wakeup_fd(before)
        # Closing ``theirs`` ends the thread, unless a signal was received.
        theirs.close()


def _end_after_signal(numbers: socket.socket) -> None:
    with numbers:
        while received := numbers.recv(1):
            if received[0] in SIGNALS:
                time.sleep(_LAST_SECONDS)
                error = Interrupted(signal.Signals(received[0]))
                with suppress(OSError):
                    os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + f"{error}: {error.resume}\n".encode())
                os._exit(error.exit_code)
