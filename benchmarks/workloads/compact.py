"""Compaction of a store's features, as the service does it every hour, but without Spark.

``python -m benchmarks.workloads.compact URI`` prints how many files were merged.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from common.layout import StoreLayout
from processor.store.compaction import compact
from processor.store.schema import FEATURES

T = TypeVar("T")
R = TypeVar("R")


class InProcess:
    """Tasks that run in this process."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        return list(work(items))


def main(uri: str) -> None:
    print(len(compact(StoreLayout(uri).features, FEATURES, InProcess())))


if __name__ == "__main__":
    main(*sys.argv[1:])
