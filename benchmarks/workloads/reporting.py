"""Reports of a store on the local disk, each in a process of its own, which prints a :class:`Run`.

``python -m benchmarks.workloads.reporting fill STORE ROWS`` makes one of drawn rows; ``… report STORE``
writes its report without thumbnails, ``… neighbours ROWS`` only finds neighbours.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.harness.in_process import InProcess
from benchmarks.harness.peak import Peak
from benchmarks.harness.protocol import answer
from benchmarks.workloads import drawn_features
from common.layout import StoreLayout
from processor.answers.nearest import unit
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.photos.memory import MemoryBudget
from processor.pipeline.sizing import memory_budget
from processor.report import neighbours
from processor.report.draw import Photo
from processor.report.page import page
from processor.report.points import NEIGHBOURS
from processor.report.report import Report
from processor.report.thumbnails import Source
from processor.spark.background import Background


@dataclass(frozen=True, slots=True)
class Run:
    """``seconds``, ``cpu``: of everything, all threads together.

    ``peak``, ``base``: bytes of this process, the most and before it began. ``map``, ``page``: bytes.
    """

    seconds: float
    cpu: float
    peak: int
    base: int
    map: int = 0
    page: int = 0


TASKS = cast(Background, InProcess())


class NoPhotos(Source):
    """Where no photo has a thumbnail."""

    def thumbnail(self, photo: Photo, memory: MemoryBudget) -> bytes | None:
        return None


def fill(store: StoreLayout, rows: int) -> None:
    drawn_features.append(store.features, rows)
    Matrix(store, RefitPolicy(components=64), TASKS, csv=False).update()


def write(store: StoreLayout, out: Path) -> None:
    source = NoPhotos("none", 1, 1, unsandboxed_heic=False, memory=memory_budget)
    Report(store, TASKS, source, page).write(out)


def measured(work: Callable[[], object]) -> Run:
    with Peak() as peak:
        base, began, cpu = peak.now(), time.monotonic(), time.process_time()
        work()
        spent = time.monotonic() - began, time.process_time() - cpu
    return Run(*spent, peak.bytes, base)


def main(what: str, argument: str, *rest: str) -> None:
    if what == "fill":
        fill(StoreLayout(argument), int(*rest))
    elif what == "neighbours":
        rows = unit(np.concatenate(list(drawn_features.drawn(int(argument)))))
        answer(measured(lambda: neighbours.nearest(rows, NEIGHBOURS)))
    else:
        out = Path(argument, "report")
        run = measured(lambda: write(StoreLayout(argument), out))
        sizes = [(out / name).stat().st_size for name in ("map.parquet", "report.html")]
        answer(Run(run.seconds, run.cpu, run.peak, run.base, *sizes))


if __name__ == "__main__":
    main(*sys.argv[1:])
