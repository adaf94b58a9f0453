"""Damaged objects: read twice before they count as damaged, then named in the log and skipped.

A damaged object is one that the store returns and that is not what was written. What the store does not return, because
it is unreachable or answers with an error, is an outage, which the store's own errors report.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from textgate.components.contracts import DamagedError, InputError
from textgate.components.storage.s3 import ObjectContent, Store

_LOGGER = logging.getLogger("textgate.registry")
_Content = TypeVar("_Content")


def read_object(
    store: Store, key: str, parse: Callable[[bytes, str], _Content]
) -> tuple[_Content, ObjectContent] | None:
    """Read and parse an object, or return None if it does not exist.

    An object that cannot be parsed is read once more, because the connection may have changed it.

    Args:
        store: Store of the object.
        key: Key of the object.
        parse: Function of the bytes and the name of the object in error messages; it raises InputError.

    Raises:
        DamagedError: The object cannot be parsed.
    """
    where = store.uri(key)
    if (stored := store.get(key)) is None:
        return None
    with suppress(InputError):
        return parse(stored.data, where), stored
    if (stored := store.get(key)) is None:
        return None
    try:
        return parse(stored.data, where), stored
    except InputError as error:
        raise DamagedError(str(error)) from error


@contextmanager
def skip_damaged(consequence: str) -> Iterator[None]:
    """Log a DamagedError of the body as a warning and go on after it.

    Args:
        consequence: What is done without the object, the end of the sentence.
    """
    try:
        yield
    except DamagedError as error:
        _LOGGER.warning("%s: %s", error, consequence)
