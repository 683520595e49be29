"""Children that load first and then start at the same moment."""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness.child import START_SECONDS, Child
from benchmarks.harness.errors import BenchError
from benchmarks.harness.protocol import READY


def run_together(
    children: Iterable[Child], start: Path, timeout_seconds: float
) -> tuple[list[Child], float]:
    """The children, which have ended, and the Unix time at which they all started.

    Each calls :func:`benchmarks.harness.protocol.wait_for_start` with the file ``start``. Pass a
    generator that creates the children: it is consumed after a left-over ``start`` is deleted.
    Raises :class:`BenchError` if one fails.
    """
    start.unlink(missing_ok=True)
    with ExitStack() as stack:
        entered = [stack.enter_context(child) for child in children]
        _await_ready(entered)
        started_at = time.time()
        start.touch()
        for child in entered:
            child.finish(timeout_seconds)
    return entered, started_at


def _await_ready(children: Sequence[Child]) -> None:
    deadline = time.time() + START_SECONDS
    while not all(child.output.read_text().startswith(READY) for child in children):
        failed = next((child for child in children if not child.running()), None)
        if failed or time.time() > deadline:
            blamed = failed or children[0]
            raise BenchError(f"python -m {blamed.module} did not start: {blamed.last_line()}")
        time.sleep(0.05)
