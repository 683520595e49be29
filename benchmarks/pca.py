"""Seconds of a whole PCA, fit, projection and write: ours against spark.ml and scikit-learn.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.linalg import eigh

from benchmarks.harness import blas, command
from benchmarks.harness.child import Child
from benchmarks.harness.command import Result, wholes
from benchmarks.harness.errors import BenchError
from benchmarks.peers import sgemm
from benchmarks.peers.answers import PcaRun
from benchmarks.workloads import drawn_features, refits
from common.layout import StoreLayout
from processor.matrix.pca import PCA

SECONDS = 1800  # that a peer may take
WELL_SEPARATED = 1.01  # an eigenvalue over the next
WARM = 3  # refits in a process that is warm
PEERS = ("spark_ml", "spark_ml_native", "sklearn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every contestant succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    if options.components >= drawn_features.COLUMNS:
        raise BenchError(f"the rows have {drawn_features.COLUMNS} columns: take fewer --components")
    result: Result = {"columns": drawn_features.COLUMNS}
    for rows in options.rows:  # the last one's figures are also given without the number of rows
        with tempfile.TemporaryDirectory(dir=scratch) as store:
            found = _compare(rows, options.components, f"{store}/")
        result |= {f"{name}_{rows}": value for name, value in found.items()} | found
    return result


def _compare(rows: int, components: int, store: str) -> Result:
    print(f"\ndrawing {rows:,} rows of {drawn_features.COLUMNS} columns", flush=True)
    drawn_features.append(StoreLayout(store).features, rows)
    yardstick = sgemm.gram(rows, drawn_features.COLUMNS)
    ours, our_rss = refits.run(store, components, more_rows=0, repeats=WARM)
    cold = ours.first.table
    warm = refits.median(ours.full)
    figures = {
        "ours_cold_s": cold,
        "ours_warm_s": warm.table,
        "fit_s": warm.fit,
        "fit_over_sgemm": warm.fit / yardstick.seconds,
        "sgemm_gflops": yardstick.gflops,
        "csv_s": warm.csv,
        "peak_rss_mb": our_rss / 1e6,
    }
    print(f"{'':<18}{'start':>8}{'fit':>8}{'whole':>8}{': ours':>8}{'RSS, MB':>10}")
    _print_row("ours, cold", PcaRun(ours.start, ours.first.fit, cold), cold, our_rss)
    _print_row("ours, warm", PcaRun(0.0, warm.fit, warm.table), cold, our_rss)
    kernels = {"sgemm_kernel": yardstick.kernel}
    for name in PEERS:
        if name == "spark_ml_native" and find_library("openblas") != blas.SYSTEM:
            missing = f"{blas.SYSTEM} is not installed (apt-get install libopenblas0)"
            print(f"{name:<18}left out: {missing}")
            continue
        peer, rss = _peer(name, store, components)
        _print_row(name, peer, cold, rss)
        figures |= {
            f"{name}_s": peer.whole,
            f"{name}_over_ours": peer.whole / cold,
            f"{name}_peak_rss_mb": rss / 1e6,
        }
        if peer.kernel:
            kernels[f"{name}_kernel"] = peer.kernel
    accuracy = _accuracy(store)
    print(
        f"fit, warm: {figures['fit_over_sgemm']:.2f} times the Gram matrix by plain sgemm "
        f"({yardstick.seconds:.2f} s, {yardstick.gflops:.0f} GFLOP/s, kernel {yardstick.kernel}, "
        f"{yardstick.threads} threads); reduced.csv: {warm.csv:.1f} s more\n"
        f"against float64: angle {accuracy['angle_rad']:.1e} rad over the first "
        f"{accuracy['separated']:.0f} components, variances {accuracy['variance_error']:.1e}",
        flush=True,
    )
    rounded = {name: float(f"{value:.4g}") for name, value in (figures | accuracy).items()}
    return {"rows": rows, "components": components, **rounded, **kernels}


def _print_row(name: str, run: PcaRun, ours: float, rss: int) -> None:
    print(
        f"{name:<18}{run.start:>8.1f}{run.fit:>8.1f}{run.whole:>8.1f}"
        f"{run.whole / ours:>8.2f}{rss / 1e6:>10.0f}",
        flush=True,
    )


def _peer(name: str, store: str, components: int) -> tuple[PcaRun, int]:
    """What a peer answers, and the peak memory of all its processes in bytes."""
    environment, forced = dict(os.environ), None
    if name == "spark_ml_native":
        environment[blas.THREADS] = "1"  # three times as fast as with its threads in each task
        forced = environment.get(blas.FORCED_KERNEL)  # the system's build may need it
    arguments, output = [name, store, str(components)], Path(store, f"{name}.out")
    with Child(
        "benchmarks.peers.pca", arguments, environment, output, forced_kernel=forced
    ) as child:
        child.finish(SECONDS)
        return child.result(PcaRun), child.usage.peak_rss_bytes


def _accuracy(store: str) -> dict[str, float]:
    """Our first model against the covariance in float64, summed around the exact mean."""
    paths = sorted(Path(StoreLayout(store).features).glob("*.parquet"))

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
    values, wanted = values[::-1], vectors.T[::-1]
    model = PCA.from_bytes(Path(store, refits.FIRST_MODEL).read_bytes())
    if model.n_samples_ != count:
        raise BenchError("the store has changed since the first fit")
    fitted = len(model.components_)
    apart = values[:fitted] / values[1 : fitted + 1] >= WELL_SEPARATED
    separated = fitted if apart.all() else int(apart.argmin())
    ours = model.components_[:separated]
    outside = ours - (ours @ wanted[:separated].T) @ wanted[:separated]
    error = np.abs(model.explained_variance_ / values[:fitted] - 1).max()
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
    parser = command.parser("pca", __doc__, epilog)
    parser.add_argument(
        "--rows",
        type=wholes(1000),
        default="200000,1000000",
        metavar="N,…",
        help="numbers of rows (default: %(default)s)",
    )
    command.add_components(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
