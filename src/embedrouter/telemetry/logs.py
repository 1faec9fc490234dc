"""Logs on stderr: plain lines for people, or one JSON object a line."""

import datetime as dt
import logging
import sys
from typing import Any, Literal

import orjson

_FIELDS = "fields"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in getattr(record, _FIELDS, {}).items())
        # One record, one line, whatever a client sent.
        head, *rest = super().format(record).split("\n")
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in head + fields)
        return "\n".join([line, *rest]) if record.exc_info else line


def set_up(style: Literal["text", "json"]) -> None:
    """Send all logs to stderr in one style."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter() if style == "json" else _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("_granian", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def event(logger: logging.Logger, message: str, **fields: Any) -> None:
    """One structured line at info level."""
    logger.info(message, extra={_FIELDS: fields})
