"""Logs on stderr: plain lines for people, or one JSON object a line."""

import datetime as dt
import logging
import re
import sys
from typing import Any, Final, Literal

import orjson

_FIELDS = "fields"
# PostgreSQL tells in DETAIL which row was at fault: texts, emails, hashes, which are nothing for a log.
_DETAIL: Final = re.compile(r"\nDETAIL: .*?(?=\n(?:HINT|CONTEXT): |\n\[SQL|\n\n(?:The above|During)|\Z)", re.DOTALL)


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        return _DETAIL.sub("", super().formatException(ei))


class _JsonFormatter(_Formatter):
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


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in getattr(record, _FIELDS, {}).items())
        # One record, one line, whatever a client sent.
        head, *rest = super().format(record).split("\n")
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in head + fields)
        return "\n".join([line, *rest]) if record.exc_info else line


def formatter(style: Literal["text", "json"]) -> logging.Formatter:
    """What makes a record's line."""
    if style == "json":
        return _JsonFormatter()
    return _TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def set_up(style: Literal["text", "json"]) -> None:
    """Send all logs to stderr in one style."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(style))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("_granian", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def event(logger: logging.Logger, message: str, **fields: Any) -> None:
    """One structured line at info level."""
    logger.info(message, extra={_FIELDS: fields})
