"""Background tasks: Spark tasks of refits and maintenance, which leave the cores to ingestion.

They run in a scheduler pool and in Python workers of their own, which lower their own priority once and
never raise it: the system gives them what ingestion does not use, and a tenth of a core where ingestion
uses everything. A local session has task slots for them beside those of ingestion, so neither waits for
the other.
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
        # Spark keys its Python workers by their environment: with another one come other workers. A
        # context refuses copy.copy, because most who try are about to pickle it.
        self._context = object.__new__(SparkContext)
        vars(self._context).update(vars(context))
        self._context.environment = {**context.environment, "FRUITS_TASKS": "background"}
        self._parallelism = parallelism

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        """Run ``work`` over shares of ``items``, one task each; results in the order of the shares."""
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
    """Lower the priority of this thread and those it starts; only root could raise it again."""
    here = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(here, NICE))
