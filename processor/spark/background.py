"""Background tasks: Spark tasks of refits and maintenance, which leave the cores to ingestion.

They have their own scheduler pool and their own Python workers, which lower their priority once and
never raise it: the kernel gives them what ingestion does not use, and a tenth of a core if ingestion
uses everything. A local session has task slots for them beside those of ingestion, so neither waits for
the other.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from pyspark import Broadcast, SparkContext

T = TypeVar("T")
R = TypeVar("R")

NICE = 10  # the kernel's weight for it is a tenth of ingestion's (0); for 19 it is a seventieth


class Background:
    """Runs tasks on a Spark context, at most ``parallelism()`` of one job at a time."""

    def __init__(self, context: SparkContext, parallelism: Callable[[], int]) -> None:
        # Spark keys its Python workers by their environment, so a different one means different
        # workers. copy.copy would use the pickle protocol, which a context refuses.
        self._context = object.__new__(SparkContext)
        vars(self._context).update(vars(context))
        self._context.environment = {**context.environment, "FRUITS_TASKS": "background"}
        self._parallelism = parallelism

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        """Run ``work`` over shares of ``items``, one task each; the results, in the items' order.

        A cluster may repeat tasks. Raises py4j's ``Py4JJavaError`` if one fails.
        """
        if not items:
            return []
        self._context.setLocalProperty("spark.scheduler.pool", "background")
        count = min(len(items), self.slots())

        def task(share: Iterable[T]) -> Iterable[R]:
            _yield_the_cores()
            return work(share)

        return self._context.parallelize(items, count).mapPartitions(task).collect()

    def slots(self) -> int:
        """How many tasks of one job run at a time."""
        return self._parallelism()

    def broadcast(self, value: T) -> Broadcast[T]:
        """``value`` for tasks, sent to each machine once, until the caller destroys it."""
        return self._context.broadcast(value)


def _yield_the_cores() -> None:
    """Lower the priority of this thread and those it starts; only root could raise it again."""
    here = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(here, NICE))
