"""Compaction of a store's features, as the service does it every hour, but without Spark.

``python -m benchmarks.workloads.compact URI`` prints how many files were merged.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from processor.spark.background import Background
from processor.store.compaction import Upkeep
from processor.store.schema import FEATURES

RETENTION_HOURS = 168  # not used: nothing is deleted here

T = TypeVar("T")
R = TypeVar("R")


class InProcess:
    """Stands in for :class:`Background`: runs its tasks in this process."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        return list(work(items))


def main(uri: str) -> None:
    here = cast(Background, InProcess())
    print(Upkeep(uri, RETENTION_HOURS, here).compact("features", FEATURES))


if __name__ == "__main__":
    main(*sys.argv[1:])
