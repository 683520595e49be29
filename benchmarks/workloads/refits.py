"""Our refits, in a process of their own.

``python -m benchmarks.workloads.refits STORE K MORE_ROWS REPEATS``, where STORE is a local folder with
features/: first a refit in a fresh process; then, REPEATS times, one without cached statistics and
(unless MORE_ROWS is 0) one after so many rows were added. Prints :class:`Refits`.
"""

import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import scipy.linalg  # noqa: F401  # now, so that no refit pays for the import

from benchmarks.harness.blas import THREADS
from benchmarks.harness.child import Child
from benchmarks.harness.protocol import answer
from benchmarks.workloads import drawn_features
from common.layout import StoreLayout
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.spark import session
from processor.spark.background import Background
from processor.spark.resources import cores

SECONDS = 3600  # that all of them may take
DRIVER_MEMORY = "1g"
SMALL_FILE_ROWS = 1024  # of the rows that are added, as micro-batches bring them
FIRST_MODEL = "first.npz"  # beside features/: a copy of the PCA model of the first refit


@dataclass(frozen=True, slots=True)
class RefitSeconds:
    """One refit: its fit, its fit with the rewritten table, and the CSV that follows."""

    fit: float
    table: float
    csv: float


def median(runs: Sequence[RefitSeconds]) -> RefitSeconds:
    """Part by part."""
    return RefitSeconds(
        fit=statistics.median(each.fit for each in runs),
        table=statistics.median(each.table for each in runs),
        csv=statistics.median(each.csv for each in runs),
    )


@dataclass(frozen=True, slots=True)
class Refits:
    """All refits of one process. ``start`` is the seconds that Spark took to start."""

    start: float
    first: RefitSeconds
    full: list[RefitSeconds]  # without cached statistics
    more: list[RefitSeconds]  # after more rows


def run(store: str, components: int, more_rows: int, repeats: int) -> tuple[Refits, int]:
    """What such a process measures, and the peak memory of everything that it starts, in bytes."""
    arguments = [store, *map(str, (components, more_rows, repeats))]
    environment = {THREADS: "1", **os.environ}  # as `python -m processor` does
    output = Path(store, "refits.out")
    with Child("benchmarks.workloads.refits", arguments, environment, output) as child:
        child.finish(SECONDS)
        return child.result(Refits), child.usage.peak_rss_bytes


def main(store: str, components: str, more_rows: str, repeats: str) -> None:
    """The process."""
    full, more = [], []
    with TemporaryDirectory(prefix="bench-refit-") as scratch:
        began = time.perf_counter()
        spark = session.start("", DRIVER_MEMORY, Path(scratch))
        start = time.perf_counter() - began
        policy = RefitPolicy(components=int(components))
        layout = StoreLayout(store)
        matrix = Matrix(layout, policy, Background(spark.sparkContext, cores))
        first = _refit(matrix)
        (model,) = Path(layout.pca_models).glob("*.npz")
        Path(store, FIRST_MODEL).write_bytes(model.read_bytes())
        for seed in range(1, int(repeats) + 1):
            Path(layout.statistics).unlink()
            full.append(_refit(matrix))
            if int(more_rows):
                drawn_features.append(
                    layout.features, int(more_rows), seed=seed, file_rows=SMALL_FILE_ROWS
                )
                more.append(_refit(matrix))
        spark.stop()
    answer(Refits(start, first, full, more))


def _refit(matrix: Matrix) -> RefitSeconds:
    began = time.perf_counter()
    update = matrix.update(force=True)
    matrix.export()
    whole = time.perf_counter() - began
    if update is None:
        raise SystemExit("there are no features to fit")
    table = update.fit_seconds + update.mirror_seconds
    return RefitSeconds(fit=update.fit_seconds, table=table, csv=whole - table)


if __name__ == "__main__":
    main(*sys.argv[1:])
