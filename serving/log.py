"""The log: a JSON object a line on standard error, with no text of any request in it."""

import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from pydantic_core import to_json

_LOG = logging.getLogger("textgate.serving")
_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record.created), "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return to_json(line, fallback=str).decode("utf-8")


def start_log() -> None:
    """Send this server's log, and what its libraries warn of, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOG.setLevel(logging.INFO)


def log_event(event: str, level: int = logging.INFO, error: BaseException | None = None, /, **fields: object) -> None:
    """Write one line; ``fields`` that are None are left out."""
    if _LOG.isEnabledFor(level):
        given = {name: value for name, value in fields.items() if value is not None}
        _LOG.log(level, event, extra={"fields": given}, exc_info=error)


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """By which a request is logged and remembered: its ``X-Request-Id`` where that is one, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode("ascii") if _ID.fullmatch(given) else os.urandom(16).hex()


class RequestLog:
    """A line for each request, on standard error as the others; those of one turn of the event loop in one write."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def write(self, fields: Mapping[str, object]) -> None:
        """Write one line; ``fields`` that are None are left out."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        given = {name: value for name, value in fields.items() if value is not None}
        self._lines.append(to_json({"time": _time(time.time()), "level": "info", "event": "request", **given}))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        sys.stderr.write(b"\n".join([*lines, b""]).decode("utf-8"))
        sys.stderr.flush()


def _time(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int(1e3 * (seconds - whole)):03d}+00:00"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
