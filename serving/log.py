"""The log: one JSON object per line on standard error, without any text of a request."""

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

_LOGGER = logging.getLogger("textgate.serving")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class _JsonFormatter(logging.Formatter):
    """Formatter that writes a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _timestamp(record.created), "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return to_json(line, fallback=str).decode("utf-8")


def start_log() -> None:
    """Send the log of this server, and warnings of its libraries, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(logging.INFO)


def log_event(event: str, level: int = logging.INFO, error: BaseException | None = None, /, **fields: object) -> None:
    """Write one line; fields that are None are left out."""
    if _LOGGER.isEnabledFor(level):
        present = {name: value for name, value in fields.items() if value is not None}
        _LOGGER.log(level, event, extra={"fields": present}, exc_info=error)


def request_id(headers: Mapping[str, str]) -> str:
    """Return the id of a request: its header ``X-Request-Id`` if that is valid, else a new random id."""
    header = headers.get("x-request-id", "")
    return header if _REQUEST_ID.fullmatch(header) else os.urandom(16).hex()


class RequestLog:
    """Log with one line per request; lines of one iteration of the event loop are written together."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def write(self, fields: Mapping[str, object]) -> None:
        """Write one line; fields that are None are left out."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        present = {name: value for name, value in fields.items() if value is not None}
        self._lines.append(to_json({"time": _timestamp(time.time()), "level": "info", "event": "request", **present}))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        sys.stderr.write(b"\n".join([*lines, b""]).decode("utf-8"))
        sys.stderr.flush()


def _timestamp(seconds: float) -> str:
    second = int(seconds)
    return f"{_format_second(second)}.{int(1e3 * (seconds - second)):03d}+00:00"


@lru_cache(maxsize=1)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
