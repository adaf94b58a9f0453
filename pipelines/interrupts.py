"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

Python turns only SIGINT into an exception. Here all three raise ``Interrupted`` in the main thread, so that temporary
folders are removed, locks released and the terminal restored on the way out. A signal that is ignored when the command
starts, as after ``nohup``, stays ignored.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal ended the command; ``resume`` says how to go on."""

    def __init__(self, sign: signal.Signals) -> None:
        super().__init__(f"interrupted by {sign.name}")
        self.exit_code = 128 + sign
        """Exit code that a shell reports for a process that the signal ended."""
        self.resume = "run the same command again"


@dataclass
class _Deferral:
    active: bool = False
    received: signal.Signals | None = None


_deferral = _Deferral()


@contextmanager
def raised_signals(on_signal: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise ``Interrupted`` in the main thread when a signal arrives; the first one only.

    Contexts can be nested: an inner one calls its ``on_signal`` before that of the outer one.

    Args:
        on_signal: Function to call in the signal handler. It must not block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {sign: signal.getsignal(sign) for sign in SIGNALS}
    handled = {sign: handler for sign, handler in earlier.items() if handler is not signal.SIG_IGN}

    def handle(number: int, frame: Any) -> None:
        sign = signal.Signals(number)
        if _deferral.active:
            _deferral.received = sign
            return
        on_signal()
        outer = handled[sign]
        if callable(outer) and outer is not signal.default_int_handler:
            outer(number, frame)
        _raise(sign)

    for sign in handled:
        signal.signal(sign, handle)
    try:
        yield
    finally:
        for sign, handler in handled.items():
            if signal.getsignal(sign) is handle:
                signal.signal(sign, handler)


def _raise(sign: signal.Signals) -> NoReturn:
    # Another signal must not end the cleanup that the first one has begun.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(sign)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Handle signals that arrive while the body runs after it, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _deferral.active = True
    try:
        yield
    finally:
        _deferral.active = False
        if (received := _deferral.received) is not None:
            _deferral.received = None
            signal.raise_signal(received)
