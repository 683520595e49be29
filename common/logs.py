"""The log: JSON lines on stdout.

One stream carries everything: what Spark's JVM and the Python processes it starts write to stderr is
read back and becomes log lines too. stdout (the journal, under systemd) always has every line.
"""

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
MAX_LINE = 100_000  # characters; CloudWatch cuts at 256 KiB


class JsonFormatter(logging.Formatter):
    """``{"at", "level", "logger", "message", …}``; values passed as ``extra`` become fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:MAX_LINE],
        }
        line.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)[-MAX_LINE:]
        return json.dumps(line, ensure_ascii=False, default=str)


def to_stdout(level: str) -> None:
    """From now on, log JSON lines to stdout, and nowhere else."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("botocore", "boto3", "urllib3", "py4j", "s3transfer"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def to_stderr() -> None:
    """The same on stderr, for the processes that Spark starts; :func:`adopt_stderr` reads it back.

    Does nothing if logging is already set up.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        logging.getLogger("botocore").setLevel(logging.WARNING)


def adopt_stderr() -> None:
    """From now on, log every line that this process and its children write to stderr."""
    reader, writer = os.pipe()
    os.dup2(writer, sys.stderr.fileno())
    os.close(writer)

    def relay() -> None:
        with os.fdopen(reader, encoding="utf-8", errors="backslashreplace") as lines:
            for line in lines:
                if line.strip():
                    logging.getLogger().handle(_record(line.rstrip()))

    threading.Thread(target=relay, name="stderr", daemon=True).start()


def _record(line: str) -> logging.LogRecord:
    """A line from a child: one of our own JSON lines, or text of unknown severity."""
    try:
        told = json.loads(line)
        name, message = told.pop("logger"), told.pop("message")
        level = logging.getLevelNamesMapping()[told.pop("level")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        name, message, level, told = "stderr", line, logging.INFO, {}
    extra = {k: v for k, v in told.items() if k not in _STANDARD and k != "at"}
    fields = {
        "name": str(name),
        "msg": str(message),
        "levelno": level,
        "levelname": logging.getLevelName(level),
    }
    return logging.makeLogRecord({**extra, **fields})
