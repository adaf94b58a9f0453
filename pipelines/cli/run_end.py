"""Last line of a run that failed or was interrupted: whether the champion of its model moved."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from textgate.components.contracts import InputError, MachineError, redact
from textgate.components.storage import Registry, Store
from textgate.pipelines.interrupts import Interrupted

CACHED = "run the same command again; completed steps come from the cache"
_SECONDS_AFTER_ERROR, _SECONDS_AFTER_SIGNAL = 10.0, 0.3
"""Time for the store to answer."""


@contextmanager
def reported_end(store: Store, model: str, as_json: bool, resume: str = CACHED) -> Iterator[None]:
    """Add to the error that ends a run whether the champion moved; with ``--json``, print it as an object as well.

    Args:
        store: Store of the registry.
        model: Model that the run trains.
        as_json: Whether ``--json`` is given.
        resume: How to go on after a signal.
    """
    before = _champion(store, model, _SECONDS_AFTER_ERROR)
    try:
        yield
    except (Exception, Interrupted) as error:
        interrupted = isinstance(error, Interrupted)
        if isinstance(error, Interrupted):
            error.resume = resume
        after = _champion(store, model, _SECONDS_AFTER_SIGNAL if interrupted else _SECONDS_AFTER_ERROR)
        moved = None if before is None or after is None else after != before
        if moved is None:
            line = f"unknown: the store does not answer, see `textgate models history {model}`"
        elif moved:
            line = f"the champion of {model} is now {after}"
        else:
            line = f"the champion of {model} did not move"
        error.add_note(line)
        if as_json:
            result = {
                "error": redact(str(error)),
                "exit_code": getattr(error, "exit_code", 1),
                "model": model,
                "champion": after or None,
                "champion_moved": moved,
            }
            with suppress(MachineError, SystemExit):  # the output may be what cannot be written
                click.echo(json.dumps(result, ensure_ascii=False))
        raise


def _champion(store: Store, model: str, seconds: float) -> str | None:
    """Return the version of the champion, empty if there is none; None if the store does not say so in time."""
    answer: list[str] = []

    def ask() -> None:
        try:
            champion = Registry(store).channel(model)
        except InputError:
            return
        answer.append(champion.version if champion else "")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None
