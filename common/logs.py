"""The log: JSON lines on stdout.

One stream carries everything: what Spark's JVM and the Python processes it starts write to stderr is
read back and becomes log lines too. stdout (the journal, under systemd) always has every line that it
takes; one that fails or blocks costs lines, never the process.
"""

import contextlib
import faulthandler
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from typing import Any

from common.folding import Folding
from common.log_lines import METRICS, JsonFormatter, is_standard
from common.redaction import redacted

PATIENCE_SECONDS = 1.0  # with a stdout that takes no whole line; then none, until it takes one
_PIECE = select.PIPE_BUF  # bytes that a pipe takes without blocking once it takes any
_stderr = 2  # a descriptor of what stderr was before it was adopted
STACKS_SIGNAL = signal.SIGUSR1  # see show_stacks_on_signal
FOLDING = Folding()  # of every handler, so that all have the same lines


class _Stdout(logging.Handler):
    """Writes lines to a descriptor; never raises, and blocks at most for PATIENCE_SECONDS a line.

    What cannot be written (full disk, closed pipe, a reader that stands still) is counted, noted once on
    stderr, and named in the first line that can be written again. logging's own handler would report a
    failure on stderr, which is a pipe whose lines come back here.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.addFilter(FOLDING)
        self._descriptor = descriptor
        self._lost = 0
        self._cut = False  # in the middle of a line

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if self._lost:
                note = f"{self._lost} log lines before this one could not be written"
                self._write(
                    self.format(_as_record({"name": "common.logs", "msg": note}, logging.ERROR))
                )
                self._lost = 0
            self._write(line)
        except Exception as error:  # of the formatter, too
            self._lost += 1
            if self._lost == 1:
                to_screen(f"stdout takes no log lines: {error}\n")

    def _write(self, line: str) -> None:
        """Raises OSError."""
        end = "\n" * self._cut
        left = memoryview(f"{end}{line}\n".encode(errors="backslashreplace"))
        deadline = time.monotonic() + (0 if self._lost else PATIENCE_SECONDS)
        while left:
            _await_writable(self._descriptor, max(0.0, deadline - time.monotonic()))
            left = left[os.write(self._descriptor, left[:_PIECE]) :]
            self._cut = bool(left)


def _await_writable(descriptor: int, seconds: float) -> None:
    """Raises TimeoutError, an OSError."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(1000 * seconds):
        raise TimeoutError("nothing reads it")


def open_missing() -> None:
    """Open the standard streams that the process was started without; writing to stdout then fails.

    Otherwise the next file or socket would take its place, and Python's own stream is None.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if nothing != descriptor:
                os.dup2(nothing, descriptor)
                os.close(nothing)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def screen() -> int:
    """The descriptor of what stderr was at first."""
    return _stderr


def to_screen(text: str) -> None:
    """Write to what stderr was at first, if that takes anything; at most 4 kB, without secrets."""
    with contextlib.suppress(OSError):
        _await_writable(_stderr, 0)
        os.write(_stderr, redacted(text).encode(errors="backslashreplace")[:_PIECE])


def flush() -> None:
    """Log what is only counted so far; before the end, after which no line follows."""
    FOLDING.flush()


def to_stdout(level: str) -> None:
    """From now on, log JSON lines to stdout, and nowhere else."""
    handler = _Stdout(sys.stdout.fileno())
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
        handler.addFilter(FOLDING)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        logging.getLogger("botocore").setLevel(logging.WARNING)


def show_stacks_on_signal() -> None:
    """From now on, this process writes the stacks of its threads to stderr at STACKS_SIGNAL.

    The kernel's default is to end the process. Whatever the threads are doing does not matter.
    """
    faulthandler.register(STACKS_SIGNAL, all_threads=True)


def adopt_stderr() -> None:
    """From now on, log every line that this process and its children write to stderr."""
    global _stderr
    _stderr = os.dup(sys.stderr.fileno())
    reader, writer = os.pipe()
    os.dup2(writer, sys.stderr.fileno())
    os.close(writer)

    def relay() -> None:
        with os.fdopen(reader, encoding="utf-8", errors="backslashreplace") as lines:
            for line in lines:
                if line.strip():
                    try:
                        logging.getLogger().handle(_record(line.rstrip()))
                    # Any: unread, the pipe would fill up and block its writers.
                    except Exception as error:
                        to_screen(f"a line of stderr was not logged: {error!r}\n")

    threading.Thread(target=relay, name="stderr", daemon=True).start()


def _record(line: str) -> logging.LogRecord:
    """A line from a child: one of our own JSON lines, or text of unknown severity."""
    try:
        told = json.loads(line)
        name, message = told.pop("logger"), told.pop("message")
        level = logging.getLevelNamesMapping()[told.pop("level")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        name, message, level, told = "stderr", line, logging.INFO, {}
    # No child measures: a line that says so is others' text, and would pass unredacted.
    extra = {k: v for k, v in told.items() if not is_standard(k) and k not in ("at", METRICS)}
    return _as_record({**extra, "name": str(name), "msg": str(message)}, level)


def _as_record(fields: dict[str, Any], level: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {**fields, "levelno": level, "levelname": logging.getLevelName(level)}
    )
