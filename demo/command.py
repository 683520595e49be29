"""The command: its options; it is carried out, an error becomes one line, and a signal ends it tidily.

Shared by the demo and the notebook.
"""

import argparse
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
SETTINGS = (
    "Settings of the service can be overridden in the environment, for example "
    "FRUITS_MODEL__INPUT_SIZE=100 for speed; config.toml lists them. Stop it with Ctrl-C."
)


def add_options(parser: argparse.ArgumentParser, *, drawn: str, out: str, content: str) -> None:
    """``--photos`` (``drawn`` without it), ``--out`` (what goes there is ``content``), ``--weights``."""
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="a folder of photos, searched recursively; a photo's parent folder is its label "
        f"(default: {drawn})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path(out),
        help=f"where {content} (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        metavar="imagenet|random|PATH",
        help="Keras' ImageNet weights (59 MB, downloaded once), random ones, or a file that Keras "
        "saved (default: imagenet, or random with a prominent notice if it cannot be downloaded)",
    )


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
