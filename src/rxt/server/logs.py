"""One line of JSON for everything that is logged."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class JsonLines(logging.Formatter):
    """Time, level, logger, event, and the fields that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        """As one line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr() -> None:
    """Have everything logged there, and nowhere else, as long as this process lives."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.handlers[:] = [handler]


@contextmanager
def logged_to_stderr() -> Iterator[None]:
    """Have everything logged there, and nowhere else, inside the block: standard error may be another one by the time
    that who called goes on."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    log_to_stderr()
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
