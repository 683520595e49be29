"""NumPy's float32 product alone: the yardstick in `engine` and `pca`, in a process of its own.

``python -m benchmarks.peers.sgemm square SIDE`` or ``… gram ROWS COLUMNS`` prints a :class:`Product`.
There OpenBLAS picks its own kernel and uses all cores, whatever the caller's environment or imports
have set; the answer says what it used.
"""

import os
import sys
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import blas
from benchmarks.harness.child import output_of, parse
from benchmarks.harness.protocol import answer
from processor.spark.resources import cores

SQUARE_TIMES = 3
GRAM_ROWS, GRAM_TIMES = 4096, 200
MODULE = "benchmarks.peers.sgemm"


@dataclass(frozen=True, slots=True)
class Product:
    """One product: its time and rate, and what computed it."""

    seconds: float
    gflops: float
    kernel: str
    threads: int


def square(side: int) -> Product:
    """The product of two ``side`` × ``side`` matrices, on all cores; the best of three."""
    return _run("square", side)


def gram(rows: int, columns: int) -> Product:
    """The Gram matrix of ``rows`` × ``columns`` on all cores, scaled from many of a few rows.

    Of two different arrays: of one with itself NumPy would compute half, as our PCA does.
    """
    return _run("gram", rows, columns)


def main(shape: str, *sizes: str) -> None:
    """The process."""
    if shape == "square":
        (side,) = map(int, sizes)
        seconds, flop = _square_seconds(side), 2.0 * side**3
    else:
        rows, columns = map(int, sizes)
        seconds, flop = _gram_seconds(rows, columns), 2.0 * rows * columns**2
    used = blas.loaded()
    answer(Product(seconds, flop / seconds / 1e9, used.kernel, used.threads))


def _run(*arguments: str | int) -> Product:
    environment = os.environ | {blas.THREADS: str(cores())}
    return parse(Product, output_of(MODULE, *map(str, arguments), environment=environment), MODULE)


def _square_seconds(side: int) -> float:
    generator = np.random.default_rng(0)
    left, right = generator.random((2, side, side), dtype=np.float32)
    product = left @ right
    seconds = []
    for _ in range(SQUARE_TIMES):
        began = time.perf_counter()
        np.matmul(left, right, out=product)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _gram_seconds(rows: int, columns: int) -> float:
    block = np.random.default_rng(0).random((GRAM_ROWS, columns), np.float32)
    other = block.copy()
    product = block.T @ other
    began = time.perf_counter()
    for _ in range(GRAM_TIMES):
        np.matmul(block.T, other, out=product)
    return (time.perf_counter() - began) / GRAM_TIMES * rows / GRAM_ROWS


if __name__ == "__main__":
    main(*sys.argv[1:])
