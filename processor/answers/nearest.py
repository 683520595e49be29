"""The nearest rows: those with the largest cosine, exactly, of a table that comes in blocks.

Independent of files, tables and Spark.
"""

import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Rows = npt.NDArray[np.float32]

SAME = 1 - 1e-5  # a larger cosine is that of a copy: rounding, or another engine, differs by less


class Neighbour(NamedTuple):
    """A stored photo, and the cosine between its features and those of the photo asked about."""

    key: str
    label: str | None
    cosine: float


def lengths(rows: Rows) -> Rows:
    """Of each row, float32 (n,); 1 for a row of zeros, so that its cosines are zero."""
    found = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return np.where(found > 0, found, np.float32(1))


def unit(rows: Rows) -> Rows:
    """The rows divided by their lengths, float32 (n, d); a row of zeros stays."""
    scaled: Rows = rows / lengths(rows)[:, None]
    return scaled


class Nearest:
    """The ``count`` nearest rows of each of m ``queries``, float32 (m, d). Thread-safe.

    Rows with a cosine above ``below`` are left out. Costs m n d multiply-adds for n rows.
    """

    def __init__(self, queries: Rows, count: int, below: float = np.inf) -> None:
        self._queries = np.ascontiguousarray(unit(queries).T)
        self._count = count
        self._below = below
        self._found: list[list[Neighbour]] = [[] for _ in queries]
        self._least = np.full(len(queries), -np.inf, np.float32)
        self._changing = threading.Lock()

    def offer(self, rows: Rows, keys: pa.Array, labels: pa.Array) -> None:
        """Consider some more rows, float32 (n, d), with their keys and labels."""
        cosines = rows @ self._queries
        cosines /= lengths(rows)[:, None]
        if self._below < np.inf:
            cosines[cosines > self._below] = -np.inf
        # Another thread may raise `_least` meanwhile: then some are considered in vain.
        for query in np.flatnonzero(cosines.max(axis=0) > self._least):
            column = cosines[:, query]
            better = np.flatnonzero(column > self._least[query])
            if len(better) > self._count:
                better = better[np.argpartition(column[better], -self._count)[-self._count :]]
            self._add(
                query,
                [
                    Neighbour(keys[row].as_py(), labels[row].as_py(), float(column[row]))
                    for row in better
                ],
            )

    def _add(self, query: np.intp, some: list[Neighbour]) -> None:
        with self._changing:
            found = self._found[query] + some
            found.sort(key=lambda each: (-each.cosine, each.key))
            self._found[query] = found[: self._count]
            if len(found) >= self._count:
                self._least[query] = self._found[query][-1].cosine

    def found(self) -> list[list[Neighbour]]:
        """For each query its nearest rows, the nearest first."""
        return self._found
