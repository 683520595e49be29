"""Background tasks: Spark tasks of refits and upkeep, which leave the cores to ingestion.

They run in a scheduler pool and in Python workers of their own. These lower their priority for good, so
the system gives them what ingestion does not use, and a tenth of a core where it uses all. On this
machine the session has room for them beside the tasks of ingestion, so neither waits for the other.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from pyspark import Broadcast, SparkContext

T = TypeVar("T")
R = TypeVar("R")

NICE = 10  # weighs a tenth of ingestion's 0; 19 would weigh a seventieth


class Background:
    """Runs tasks on a Spark context, ``parallelism`` at a time."""

    def __init__(self, context: SparkContext, parallelism: int) -> None:
        # Spark keeps Python workers by their environment: another one, other workers. A context
        # refuses copy.copy, for most who try are about to pickle it.
        self._context = object.__new__(SparkContext)
        vars(self._context).update(vars(context))
        self._context.environment = {**context.environment, "FRUITS_TASKS": "background"}
        self._parallelism = parallelism

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        """``work`` over shares of ``items``, one task each; all results, of the first share first."""
        if not items:
            return []
        self._context.setLocalProperty("spark.scheduler.pool", "background")
        count = min(len(items), self._parallelism)

        def task(share: Iterable[T]) -> Iterable[R]:
            _yield_the_cores()
            return work(share)

        return self._context.parallelize(items, count).mapPartitions(task).collect()

    def broadcast(self, value: T) -> Broadcast[T]:
        """``value`` for the tasks, sent to each machine once."""
        return self._context.broadcast(value)


def _yield_the_cores() -> None:
    """Of this thread and those it starts; only the system's administrator could undo it."""
    here = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(here, NICE))
