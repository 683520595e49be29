"""Isolation: work over many items in Spark tasks, some of which may kill their worker."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from py4j.protocol import Py4JJavaError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MAX_SUSPECTS = 3  # if workers die over more, it is likely the machine; each death costs time
_WORKER_DIED = "Python worker exited unexpectedly"  # Spark's message


@dataclass(frozen=True, slots=True)
class Isolated(Generic[T, R]):
    """The ``results`` of all shares that succeeded, and the items that have none.

    A worker died over each of ``suspects`` alone. That proves nothing: it may have been the work of the
    out-of-memory killer or of an operator. ``untried`` were left when there were too many suspects.
    """

    results: list[R]
    suspects: list[T]
    untried: list[T]


def isolate(
    items: Sequence[T],
    job: Callable[[Sequence[Sequence[T]]], list[R]],
    workers: int,
    died: Callable[[], object] = lambda: None,
) -> Isolated[T, R]:
    """Run ``job`` over shares of ``items``, one for each worker; bisect batches that kill a worker.

    ``job`` gets the shares and returns the results of all of them; it is called again with the halves
    of a batch over which a worker died, first come, first served, so an item may be worked on several
    times. Every item is in a share that succeeded, a suspect, or untried. Raises anything that ``job``
    raises but the death of a worker, at each of which ``died`` is called.
    """
    isolated: Isolated[T, R] = Isolated([], [], [])
    batches = [list(items)]
    while batches:
        batch = batches.pop()
        if len(isolated.suspects) > MAX_SUSPECTS:
            isolated.untried.extend(batch)
            continue
        shares = [batch[n::workers] for n in range(min(workers, len(batch)))]
        try:
            isolated.results.extend(job(shares) if shares else [])
        except Py4JJavaError as error:
            if _WORKER_DIED not in str(error.java_exception):
                raise
            died()
            if len(batch) == 1:
                isolated.suspects.extend(batch)
                continue
            log.warning("a worker died over %d items; looking for the one", len(batch))
            batches += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
    return isolated
