"""Isolation: work over many items in Spark tasks, some of which may kill their worker."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from py4j.protocol import Py4JJavaError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MAX_SUSPECTS = 3  # if workers die over more alone, it is likely the machine; each costs time
_WORKER_DIED = "Python worker exited unexpectedly"  # Spark's messages
_EXECUTOR_LOST = "ExecutorLostFailure"  # after Spark has tried the task on several of them


@dataclass(frozen=True, slots=True)
class Isolated(Generic[T, R]):
    """The ``results`` of all shares that succeeded, and the items that have none.

    A worker died over each of ``suspects`` alone. That proves nothing: it may have been the work of the
    out-of-memory killer or of an operator. Over ``untried`` a cluster's executors were lost, for any
    reason, or they were left when there was too much of either.
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
    """Run ``job`` over shares of ``items``, one for each worker; bisect batches over which one dies.

    ``job`` gets the shares and returns the results of all of them; it is called again with the halves
    of a batch over which a worker died, first come, first served, so an item may be worked on several
    times. Every item is in a share that succeeded, a suspect, or untried. Raises anything that ``job``
    raises but the death of a worker, at each of which ``died`` is called, and the loss of an executor.
    """
    isolated: Isolated[T, R] = Isolated([], [], [])
    batches = [list(items)]
    singles = 0
    while batches:
        batch = batches.pop()
        if singles > MAX_SUSPECTS:
            isolated.untried.extend(batch)
            continue
        shares = [batch[n::workers] for n in range(min(workers, len(batch)))]
        try:
            isolated.results.extend(job(shares) if shares else [])
        except Py4JJavaError as error:
            cause = str(error.java_exception)
            lost = _EXECUTOR_LOST in cause
            if not lost and _WORKER_DIED not in cause:
                raise
            if not lost:
                died()
            if len(batch) == 1:
                singles += 1
                (isolated.untried if lost else isolated.suspects).extend(batch)
                continue
            what = "executors were lost" if lost else "a worker died"
            log.warning("%s over %d items; looking for the one", what, len(batch))
            batches += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
    return isolated
