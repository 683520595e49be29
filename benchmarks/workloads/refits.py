"""Our refits, in a process of their own:
``python -m benchmarks.workloads.refits STORE K MORE_ROWS REPEATS``.

STORE is a local folder with features/. First a refit in a fresh process; then, REPEATS times, one that
knows no statistics, and (unless MORE_ROWS is 0) one after so many rows came. Prints one JSON object: of
each refit the seconds of its parts, and the figures of the first model.
"""

import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import scipy.linalg  # noqa: F401  # all that is imported later, now

from benchmarks.harness.child import Child
from benchmarks.workloads import drawn_features as _features
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import Policy
from processor.spark import session
from processor.spark.background import Background
from processor.spark.resources import cores

SECONDS = 3600  # that all of them may take


def run(store: str, components: int, more_rows: int, repeats: int) -> tuple[dict[str, Any], int]:
    """What such a process tells, and the peak memory of all that it starts."""
    arguments = [store, *map(str, (components, more_rows, repeats))]
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}  # as `python -m processor` does
    with Child(
        "benchmarks.workloads.refits", arguments, environment, Path(store, "refits.out")
    ) as child:
        child.finish(SECONDS)
        return child.told(), child.peak_rss_bytes


def main(store: str, components: str, more_rows: str, repeats: str) -> None:
    with TemporaryDirectory(prefix="bench-refit-") as scratch:
        began = time.perf_counter()
        spark = session.start("", "1g", Path(scratch))
        result: dict[str, Any] = {"start": time.perf_counter() - began, "full": [], "more": []}
        policy = Policy(int(components), False, 0, 0, 0.0)
        matrix = Matrix(store, policy, Background(spark.sparkContext, cores()))
        result["first"] = _refit(matrix)
        (model,) = Path(store, "models", "pca").glob("*.npz")
        Path(store, _features.FIRST_MODEL).write_bytes(model.read_bytes())
        for repeat in range(int(repeats)):
            Path(store, "models", "statistics.npz").unlink()
            result["full"].append(_refit(matrix))
            if int(more_rows):
                _features.append(
                    f"{store}features", int(more_rows), seed=1 + repeat, file_rows=1024
                )
                result["more"].append(_refit(matrix))
        spark.stop()
    print(json.dumps(result))


def _refit(matrix: Matrix) -> dict[str, float]:
    """Seconds of the fit, of the fit and the rewritten table, and of the CSV after that."""
    began = time.perf_counter()
    update = matrix.update(force=True)
    whole = time.perf_counter() - began
    if update is None:
        raise SystemExit("there are no features to fit")
    table = update.fit_seconds + update.mirror_seconds
    return {"fit": update.fit_seconds, "table": table, "csv": whole - table}


if __name__ == "__main__":
    main(*sys.argv[1:])
