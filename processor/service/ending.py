"""The ending: how the process ends, whatever its threads are doing.

Several of them may be in native code or wait for Spark. The interpreter's own end would meet them
there, which can crash the process or hang it, so it is left out. What must last is durable by then.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from common import logs
from common.printable import printable
from processor.spark import processes

log = logging.getLogger("processor")

# For children to end by themselves. The source's process waits for a long poll of 10 s and then releases
# its messages.
CHILDREN_SECONDS = 35.0

# Of the thread that ends the process; what others then report follows from it.
_first = threading.RLock()


def fail(fault: str, look: Callable[[], None] = lambda: None) -> NoReturn:
    """Log the fault, show it on the screen as one line, and end with status 1; from any thread.

    Before that it calls ``look``, which may log more of the fault.
    """
    _first.acquire()
    look()
    if logging.getLogger().handlers:
        log.error("ended: %s", fault)
    logs.to_screen(f"error: {printable(' '.join(fault.split()))}\n")
    end_children()
    end(1)


def end_children() -> None:
    """Have Spark's processes release what they hold and end; returns when they are gone."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_not_py4js)
    processes.end(CHILDREN_SECONDS)


def _is_not_py4js(record: logging.LogRecord) -> bool:
    """py4j tells the root logger whom it could not reach: the JVM that is ended, say a finalizer's."""
    return "py4j" not in Path(record.pathname).parts


def end(status: int) -> NoReturn:
    """End with ``status`` once everything that was logged and printed is where it belongs."""
    _first.acquire()
    logs.flush()
    logging.shutdown()  # bounded: see cloudwatch.FLUSH_SECONDS
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)
