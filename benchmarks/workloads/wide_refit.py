"""Two refits of many columns in a process of their own, whose memory is measured.

``python -m benchmarks.workloads.wide_refit STORE K TASKS MORE_ROWS``: one refit without cached
statistics, and one after so many rows were added. Prints :class:`WideRefit`.
"""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark.sql import SparkSession

from benchmarks.harness.protocol import answer
from benchmarks.workloads import drawn_features
from common.layout import StoreLayout
from processor.matrix.matrix import Matrix, Update
from processor.matrix.refit_policy import RefitPolicy
from processor.spark import processes, session
from processor.spark.background import Background
from processor.store import objects

DRIVER_MEMORY = "1g"
COLUMNS = 4096  # of fc2
FILE_ROWS = 1024  # 16 MB
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class WideRefit:
    """Peaks in bytes; of the heap, garbage included. Seconds of the fit and of all, in both refits."""

    heap: int
    jvm: int
    driver: int
    worker: int  # the largest
    workers: int  # how many there were
    fit: float
    table: float
    more_fit: float
    more_table: float


class Peaks:
    """The peak memory of each descendant of this process, by its id, until :meth:`stop`."""

    def __init__(self) -> None:
        self.java: dict[int, int] = {}
        self.python: dict[int, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            with processes.descendants() as family:
                for each in family:
                    with suppress(OSError, StopIteration):
                        if each.is_java or "pyspark.daemon" in _command(each.pid):
                            kind = self.java if each.is_java else self.python
                            kind[each.pid] = peak(each.pid)


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def main(store: str, components: str, tasks: str, more_rows: str) -> None:
    """The process."""
    layout = StoreLayout(store)
    with TemporaryDirectory(prefix="bench-fc2-") as scratch:
        spark = session.start(f"local[{2 * int(tasks)}]", DRIVER_MEMORY, Path(scratch))
        peaks = Peaks()
        policy = RefitPolicy(components=int(components))
        matrix = Matrix(layout, policy, Background(spark.sparkContext, lambda: int(tasks)))
        objects.delete(layout.statistics)
        first = _refit(matrix)
        shape = map(str, (int(tasks), COLUMNS, FILE_ROWS))
        drawing = [sys.executable, "-m", "benchmarks.workloads.drawn_features"]
        subprocess.run(
            [*drawing, layout.features, more_rows, drawn_features.MODEL, *shape], check=True
        )
        second = _refit(matrix)
        peaks.stop()
        heap = _heap(spark)
        spark.stop()
    answer(
        WideRefit(
            heap=heap,
            jvm=max(peaks.java.values()),
            driver=peak(os.getpid()),
            worker=max(peaks.python.values()),
            workers=len(peaks.python),
            fit=first.fit_seconds,
            table=first.fit_seconds + first.mirror_seconds,
            more_fit=second.fit_seconds,
            more_table=second.fit_seconds + second.mirror_seconds,
        )
    )


def _refit(matrix: Matrix) -> Update:
    update = matrix.update(force=True)
    if update is None:
        raise SystemExit("there are no features to fit")
    return update


def _heap(spark: SparkSession) -> int:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    pools = jvm.java.lang.management.ManagementFactory.getMemoryPoolMXBeans()
    heap = [each for each in pools if str(each.getType()) == "Heap memory"]
    return sum(each.getPeakUsage().getUsed() for each in heap)


if __name__ == "__main__":
    main(*sys.argv[1:])
