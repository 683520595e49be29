"""How a child answers the benchmark that started it: ``ready`` first, one JSON object last.

Standard library only: peers run in environments that have little else.
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

READY = "ready\n"
POLL_SECONDS = 0.002


def claim_stdout() -> IO[str]:
    """Our stdout for ourselves; whatever a library prints from now on goes to stderr."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


def wait_for_start(start: Path, answers: IO[str] = sys.stdout) -> None:
    """Report that all is loaded and return as soon as the file ``start`` exists."""
    answers.write(READY)
    answers.flush()
    while not start.exists():
        time.sleep(POLL_SECONDS)


def answer(result: "DataclassInstance", answers: IO[str] = sys.stdout) -> None:
    """Write ``result`` as one line of JSON, which :meth:`Child.result` reads back."""
    print(json.dumps(asdict(result)), file=answers, flush=True)
