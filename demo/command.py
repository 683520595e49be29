"""The command: what it is for is carried out, an error becomes one line, and a signal ends it tidily.

Shared by the demo and the notebook.
"""

import signal
import sys
import traceback
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from common import aws_errors
from common.config import ConfigError
from common.printable import printable
from demo.errors import DemoError
from demo.progress import Display
from infra_scripts.errors import InfraError
from processor.errors import PreflightError

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def carry_out(work: Callable[[Display], None], trace_file: Path) -> int:
    """Call ``work``; the exit status, 0 only if it returns. The trace of a bug is kept in a file."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in STOPPING:
        signal.signal(number, _interrupt)
    display = Display()
    try:
        work(display)
    except (DemoError, ConfigError, InfraError, PreflightError) as error:
        fault = str(error)
    except aws_errors.ERRORS as error:
        fault = aws_errors.explain(error, "the embedded AWS")
    except KeyboardInterrupt:
        fault = "interrupted; nothing is left running"
    except OSError as error:
        fault = f"{error.strerror or error}: {error.filename or 'check disk space and memory'}"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}{_keep_trace(trace_file)}"
    else:
        return 0
    display.clear()
    print(f"error: {printable(' '.join(fault.split()))}", file=sys.stderr)
    return 1


def _interrupt(_number: int, _frame: object) -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # tidying up takes seconds, and is not interrupted
    raise KeyboardInterrupt


def _keep_trace(file: Path) -> str:
    try:
        file.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return ""
    return f" (a bug; the trace is in {file})"
