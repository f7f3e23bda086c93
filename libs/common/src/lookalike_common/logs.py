"""Structured logs: one line per record with the request id of the call it belongs to.

Secrets have no business in log lines; what looks like a password in a URL or a bearer token is
removed all the same, because texts of foreign exceptions are logged too.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Final

from lookalike_common.context import current_context
from lookalike_common.settings import TelemetrySettings

_SECRETS: Final = re.compile(r"(?P<scheme>://)[^/\s@]*@|(?P<bearer>[Bb]earer )[^\s\"',]+")
_EXTRA: Final = ("method", "code", "seconds", "error")
_QUIET: Final = ("asyncio", "grpc", "opentelemetry", "urllib3")


def set_up_logging(settings: TelemetrySettings, service: str) -> None:
    """Send all logs of the process to stderr in the configured form; for programs only."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = settings.log_format == "json"
    handler.setFormatter(JsonFormatter(service) if as_json else TextFormatter(service))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


class _ServiceFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service


class JsonFormatter(_ServiceFormatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for one record."""
        line = {
            "time": _timestamp(record),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **_context_fields(),
            **_extra_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_secrets(json.dumps(line, ensure_ascii=False, default=str))


class TextFormatter(_ServiceFormatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text for one record."""
        fields = {**_extra_fields(record), **_context_fields()}
        fields.pop("method", None)
        rest = "".join(f" {key}={value}" for key, value in fields.items())
        text = f"{_timestamp(record)} {record.levelname:7} {self._service} {record.getMessage()}"
        if record.exc_info:
            rest += "\n" + self.formatException(record.exc_info)
        return without_secrets(text + rest)


def without_secrets(text: str) -> str:
    """Return a text without the passwords of URLs and without bearer tokens."""
    if "://" not in text and "earer " not in text:
        return text
    return _SECRETS.sub(lambda match: (match["scheme"] or match["bearer"]) + _mask(match), text)


def _mask(match: re.Match[str]) -> str:
    return "***@" if match["scheme"] else "***"


def _context_fields() -> Mapping[str, str]:
    context = current_context()
    fields = {"request_id": context.request_id, "tenant": context.tenant}
    return {key: value for key, value in fields.items() if value}


def _extra_fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields = {key: getattr(record, key, None) for key in _EXTRA}
    return {key: value for key, value in fields.items() if value is not None}


def _timestamp(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"
