"""The log: a JSON object a line on standard error, with no text of any request in it."""

import logging
from datetime import UTC, datetime

from pydantic_core import to_json

_LOG = logging.getLogger("textgate.serving")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
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


def say(event: str, level: int = logging.INFO, error: BaseException | None = None, /, **fields: object) -> None:
    """Write one line; ``fields`` that are None are left out."""
    if _LOG.isEnabledFor(level):
        given = {name: value for name, value in fields.items() if value is not None}
        _LOG.log(level, event, extra={"fields": given}, exc_info=error)
