"""Seconds of a whole PCA, fit, projection and write: ours against spark.ml and scikit-learn.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.linalg import eigh

from benchmarks.harness import command as _command
from benchmarks.harness.child import BenchError, Child
from benchmarks.harness.command import whole, wholes
from benchmarks.peers.pca import OPENBLAS
from benchmarks.workloads import drawn_features as _features
from benchmarks.workloads import refits as _refits
from processor.matrix.pca import PCA

SECONDS = 1800  # that a peer may take
WELL_SEPARATED = 1.01  # an eigenvalue and the next
WARM = 3  # refits in a process that is warm
SGEMM_ROWS, SGEMM_TIMES = 4096, 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every contestant went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    if asked.components >= _features.COLUMNS:
        raise BenchError(f"the rows have {_features.COLUMNS} columns: take fewer --components")
    result: dict[str, Any] = {"columns": _features.COLUMNS}
    for rows in asked.rows:  # the last one's figures carry no number of rows
        with tempfile.TemporaryDirectory(dir=scratch) as store:
            found = _compare(rows, asked.components, f"{store}/")
        result |= {f"{name}_{rows}": value for name, value in found.items()} | found
    return result


def _compare(rows: int, components: int, store: str) -> dict[str, Any]:
    print(f"\ndrawing {rows:,} rows of {_features.COLUMNS} columns", flush=True)
    _features.append(f"{store}features", rows)
    sgemm = _sgemm_seconds(rows)
    ours, our_rss = _refits.run(store, components, 0, WARM)
    cold = ours["first"]["table"]
    fit, table, csv = (
        statistics.median(each[part] for each in ours["full"]) for part in ("fit", "table", "csv")
    )
    result: dict[str, Any] = {
        "rows": rows,
        "components": components,
        "ours_cold_s": cold,
        "ours_warm_s": table,
        "fit_s": fit,
        "fit_over_sgemm": fit / sgemm,
        "csv_s": csv,
        "peak_rss_mb": our_rss / 1e6,
    }
    print(f"{'':<18}{'start':>8}{'fit':>8}{'whole':>8}{': ours':>8}{'RSS, MB':>10}")
    _line("ours, cold", ours["start"], ours["first"]["fit"], cold, cold, our_rss)
    _line("ours, warm", 0.0, fit, table, cold, our_rss)
    for name in ("spark_ml", "spark_ml_native", "sklearn"):
        if name == "spark_ml_native" and find_library("openblas") != OPENBLAS:
            print(f"{name:<18}left out: {OPENBLAS} is not installed (apt-get install libopenblas0)")
            continue
        peer, rss = _peer(name, store, components)
        _line(name, peer["start"], peer["fit"], peer["whole"], cold, rss)
        result |= {
            f"{name}_s": peer["whole"],
            f"{name}_over_ours": peer["whole"] / cold,
            f"{name}_peak_rss_mb": rss / 1e6,
        }
    result |= _accuracy(store)
    print(
        f"fit, warm: {result['fit_over_sgemm']:.2f} times the Gram matrix by plain sgemm "
        f"({sgemm:.2f} s); reduced.csv: {result['csv_s']:.1f} s more\n"
        f"against float64: angle {result['angle_rad']:.1e} rad over the first "
        f"{result['separated']} axes, variances {result['variance_error']:.1e}",
        flush=True,
    )
    return {name: float(f"{value:.4g}") for name, value in result.items()}


def _line(name: str, start: float, fit: float, whole: float, ours: float, rss: float) -> None:
    print(
        f"{name:<18}{start:>8.1f}{fit:>8.1f}{whole:>8.1f}{whole / ours:>8.2f}{rss / 1e6:>10.0f}",
        flush=True,
    )


def _peer(name: str, store: str, components: int) -> tuple[dict[str, Any], int]:
    """What a peer tells, and its peak memory."""
    environment = dict(os.environ)
    if name == "spark_ml_native":  # three times as fast as with its threads in each task
        environment["OPENBLAS_NUM_THREADS"] = "1"
    arguments, output = [name, store, str(components)], Path(store, f"{name}.out")
    with Child("benchmarks.peers.pca", arguments, environment, output) as child:
        child.finish(SECONDS)
        return child.told(), child.peak_rss_bytes


def _sgemm_seconds(rows: int) -> float:
    """The Gram matrix of so many rows by NumPy's float32 product alone, all cores; nothing is read."""
    block = np.random.default_rng(0).random((SGEMM_ROWS, _features.COLUMNS), np.float32)
    other = block.copy()  # two arrays: of one and itself NumPy would compute half
    product = block.T @ other
    began = time.perf_counter()
    for _ in range(SGEMM_TIMES):
        np.matmul(block.T, other, out=product)
    return (time.perf_counter() - began) / SGEMM_TIMES * rows / SGEMM_ROWS


def _accuracy(store: str) -> dict[str, float]:
    """Our first model against the covariance in float64, summed around the exact mean."""
    paths = sorted(Path(f"{store}features").glob("*.parquet"))

    def blocks() -> Iterator[np.ndarray]:
        for path in paths:
            column = pq.read_table(path, columns=["features"])["features"]
            yield column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)

    count = sum(len(block) for block in blocks())
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks()) / count
    scatter = np.zeros((len(mean), len(mean)))
    for block in blocks():
        centred = block - mean
        scatter += centred.T @ centred
    values, vectors = eigh(scatter / (count - 1))
    values, axes = values[::-1], vectors.T[::-1]
    model = PCA.from_bytes(Path(store, _features.FIRST_MODEL).read_bytes())
    if model.n_samples_ != count:
        raise BenchError("the store has changed since the first fit")
    wanted = len(model.components_)
    apart = values[:wanted] / values[1 : wanted + 1] >= WELL_SEPARATED
    separated = wanted if apart.all() else int(apart.argmin())
    ours = model.components_[:separated]
    outside = ours - (ours @ axes[:separated].T) @ axes[:separated]
    error = np.abs(model.explained_variance_ / values[:wanted] - 1).max()
    return {
        "angle_rad": math.asin(min(1.0, float(np.linalg.norm(outside, 2)))),
        "separated": separated,
        "variance_error": float(error),
    }


def _parser() -> argparse.ArgumentParser:
    epilog = (
        "Needs 4 GB of free space a million rows in the temporary directory (TMPDIR); one in "
        "memory (/dev/shm) keeps the disk out of the figures."
    )
    parser = _command.parser("pca", __doc__, epilog)
    parser.add_argument(
        "--rows",
        type=wholes(1000),
        default="200000,1000000",
        metavar="N,…",
        help="numbers of rows (default: %(default)s)",
    )
    parser.add_argument(
        "--components", type=whole(1), default=64, metavar="K", help="default: %(default)s"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
