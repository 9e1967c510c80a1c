"""JSON lines to stderr: one object per event, for people and collectors alike."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One line per record: time, level, where, what."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
        moment = datetime.fromtimestamp(record.created, UTC)
        facts = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            facts["error"] = self.formatException(record.exc_info)
        return json.dumps(facts)


def log_to_stderr(name: str = "edge") -> None:
    """Send the logger's records, INFO and above, to stderr."""
    logger = logging.getLogger(name)
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
