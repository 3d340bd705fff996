"""Logs for programs: one JSON object a line, where the host asks for them with DENOISE_LOG=json."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from .errors import ServiceError

OWN = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (RFC 3339, UTC), level, logger, message, and what it carries beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def from_environment() -> bool:
    """Has this process log to standard error as DENOISE_LOG says; returns whether that is as JSON.

    Requests, jobs and refusals are told beside warnings and errors, without names of files or addresses of visitors.

    Raises:
        ServiceError: It says something else.
    """
    text = os.environ.get("DENOISE_LOG", "").strip()
    if not text:
        return False
    if text != "json":
        raise ServiceError.of("not-a-choice", variable="DENOISE_LOG", known="json", text=text)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("denoise_app").setLevel(logging.INFO)
    logging.captureWarnings(True)
    return True
