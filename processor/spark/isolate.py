"""Isolation: work over many items in Spark tasks, some of which may kill their worker."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from py4j.protocol import Py4JJavaError

from processor.errors import WorkerDied

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# Deaths over an item alone, each time in a new worker, that prove its guilt; one may have been the work
# of the out-of-memory killer or of an operator.
DEATHS = 3
MAX_CULPRITS = 3  # if more items kill a worker, the machine is to blame rather than the items
_WORKER_DIED = "Python worker exited unexpectedly"  # Spark's message


@dataclass(frozen=True, slots=True)
class Isolated(Generic[T, R]):
    """The ``results`` of all shares that succeeded; ``culprits`` killed DEATHS workers alone."""

    results: list[R]
    culprits: list[T]


def isolate(
    items: Sequence[T], job: Callable[[Sequence[Sequence[T]]], list[R]], workers: int
) -> Isolated[T, R]:
    """Run ``job`` over shares of ``items``, one for each worker; bisect batches that kill a worker.

    ``job`` gets the shares and returns the results of all of them; it is called again with the halves
    of a batch over which a worker died, and with a suspect alone up to DEATHS times, so an item may be
    worked on several times. Raises :class:`WorkerDied` if there are more than MAX_CULPRITS culprits, and
    anything else that ``job`` raises.
    """
    isolated: Isolated[T, R] = Isolated([], [])
    suspects = [(list(items), 0)]  # with the number of deaths over it alone
    while suspects:
        batch, deaths = suspects.pop()
        shares = [batch[n::workers] for n in range(min(workers, len(batch)))]
        try:
            isolated.results.extend(job(shares) if shares else [])
        except Py4JJavaError as error:
            if _WORKER_DIED not in str(error.java_exception):
                raise
            if len(batch) > 1:
                log.warning("a worker died over %d items; looking for the culprit", len(batch))
                suspects += [(batch[: len(batch) // 2], 0), (batch[len(batch) // 2 :], 0)]
                continue
            if deaths + 1 < DEATHS:
                suspects.append((batch, deaths + 1))
                continue
            isolated.culprits.append(batch[0])
            if len(isolated.culprits) > MAX_CULPRITS:
                raise WorkerDied(
                    f"workers died over {len(isolated.culprits)} items, each alone: more likely the "
                    "machine is short of memory than all of them are hostile; lower compute.workers "
                    "or use a larger machine"
                ) from error
    return isolated
