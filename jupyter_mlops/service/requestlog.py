"""What the service's log tells of requests: each record has the id of the request in which it was written."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import datetime, timezone

import msgspec
from tornado.httputil import HTTPServerRequest

from jupyter_mlops.core.formats import printable

CURRENT: ContextVar[str] = ContextVar("mlops_request_id", default="")
"""The id of the request that is being answered; empty outside of one."""
DETAIL = "mlops"
"""The attribute of a log record with what else a program may want to know."""


def path_of(request: HTTPServerRequest) -> str:
    """The path of a request as a log may have it: what begins another line there, or what a terminal would obey, is
    written out. Without the query, in which people put secrets."""
    return printable(request.path)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``; inside a request its
    ``request_id``; of an error its ``traceback``; of a request that was answered also ``method``, ``path``, ``status``,
    ``milliseconds``, ``operation`` and ``user``."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := CURRENT.get():
            told["request_id"] = current
        told.update(getattr(record, DETAIL, {}))
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        return msgspec.json.encode(told, enc_hook=str).decode()
