"""Compaction of a store's features, as the service does it every hour, but without Spark.

``python -m benchmarks.workloads.compact URI`` prints a :class:`Compacted`.
"""

import sys
from dataclasses import dataclass

from benchmarks.harness.in_process import InProcess
from benchmarks.harness.protocol import answer
from benchmarks.harness.usage import peak_rss
from common.layout import StoreLayout
from processor.store.compaction import compact
from processor.store.schema import FEATURES


@dataclass(frozen=True, slots=True)
class Compacted:
    """Bytes of the files merged, and the process's peak memory with the libraries."""

    merged: int
    rss: int


def report(merged: int) -> None:
    answer(Compacted(merged, peak_rss()))


def main(uri: str) -> None:
    merged = 0
    while swaps := compact(StoreLayout(uri).features, FEATURES, InProcess()):
        merged += sum(file.size for swap in swaps for file in swap.removed)
    report(merged)


if __name__ == "__main__":
    main(*sys.argv[1:])
