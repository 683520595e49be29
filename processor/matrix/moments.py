"""Moments: float32 rows -> mergeable count, mean and scatter, which is all that a PCA needs.

Pure numpy, independent of files, tables and Spark. `processor.matrix.pca` fits a PCA to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from processor.matrix.npz import pack, unpack

Array32 = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]

BLOCK_ROWS = 2048  # 4 MiB of 512 columns; 1024 to 4096 cost the same
_STRIP_ROWS = 64  # of a (d, d) update at a time, so that its temporary fits into the cache


@dataclass(frozen=True, eq=False)
class Statistics:
    """The moments of `count` rows. Merging is exact to float64 rounding, so blocks, files and
    partitions may be summed in any grouping and order.

    mean: float64 (d,). scatter: float64 (d, d), exactly symmetric, the sum of the outer products
    of the rows minus their mean. Memory 8 d² bytes: 2 MiB for 512 columns, 128 MiB for 4096.
    """

    count: int
    mean: Array64
    scatter: Array64

    @classmethod
    def empty(cls, d: int) -> Statistics:
        """The statistics of no rows, with `d` columns: the neutral element of `merge`."""
        return Accumulator(d).statistics()

    @classmethod
    def of(cls, rows: Array32, block_rows: int = BLOCK_ROWS) -> Statistics:
        """The statistics of float32 (n, d) rows; method and errors are `Accumulator.add`'s."""
        return Accumulator(np.shape(rows)[-1]).add(rows, block_rows).statistics()

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both sets of rows; also `+`. Raises ValueError if their columns differ.

        For many parts use `Accumulator.merge`, which allocates no matrix per part.
        """
        return Accumulator(len(self.mean)).merge(self).merge(other).statistics()

    __add__ = merge

    def without(self, part: Statistics) -> Statistics:
        """The statistics of the rows that are not in `part`, a subset; the inverse of `merge`.

        Rounding errors are a few 1e-16 of the whole scatter, so they weigh more the fewer rows are
        left. Raises ValueError if the columns differ or `part` has more rows than this.
        """
        left = self.count - part.count
        if part.mean.shape != self.mean.shape:
            raise ValueError(f"cannot take {len(part.mean)} columns from {len(self.mean)}")
        if left < 0:
            raise ValueError(f"cannot take {part.count} rows from {self.count}")
        if left == 0:
            return Statistics.empty(len(self.mean))
        delta = part.mean - self.mean
        mean = self.mean - delta * (part.count / left)
        scatter = self.scatter - part.scatter
        _add_outer(scatter, delta, -part.count * (self.count / left))
        return Statistics(left, mean, scatter)

    def to_bytes(self) -> bytes:
        """An npz without pickles: 4 d² bytes (1 MiB for 512 columns), one triangle of scatter."""
        triangle = self.scatter[np.tri(len(self.mean), dtype=bool)]
        return pack("statistics/1", count=self.count, mean=self.mean, triangle=triangle)

    @classmethod
    def from_bytes(cls, data: bytes) -> Statistics:
        """The inverse of `to_bytes`, bit for bit. Raises ValueError for any other bytes."""
        part = unpack("statistics/1", data, ("count", "mean", "triangle"))
        scatter = np.zeros((part["mean"].size,) * 2)
        scatter[np.tri(len(scatter), dtype=bool)] = part.pop("triangle")
        for top in range(0, len(scatter), _STRIP_ROWS):
            strip = slice(top, top + _STRIP_ROWS)
            scatter[:top, strip] = scatter[strip, :top].T
            scatter[strip, strip] += np.tril(scatter[strip, strip], -1).T
        return cls(part["count"], part["mean"], scatter)


class Accumulator:
    """Running `Statistics`, updated in place; one per task or thread. Memory 12 d² bytes.

    Once `statistics` was called, nothing more can be added.
    """

    def __init__(self, d: int) -> None:
        if d < 1:
            raise ValueError(f"statistics need at least one column, got {d}")
        self._count = 0
        self._mean = np.zeros(d)
        self._scatter = np.zeros((d, d))

    def add(self, rows: Array32, block_rows: int = BLOCK_ROWS) -> Accumulator:
        """Add float32 (n, d) rows in blocks: n d² / 2 multiply-adds, a block of extra memory.

        Each block is shifted by its own mean, so that float32 suffices for the Gram matrix even
        if the mean is a thousand times the spread or drifts along the rows; the rounding of the
        shift to float32 is corrected for, and blocks are merged by the parallel-variance formula
        (Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, 1979). As means are float64, a constant column has a scatter of exactly zero. A
        drift within a block costs precision with its square: 100 times the spread over 2,048 rows
        put the span 3e-4 rad off a float64 SVD's, over 256 rows 1e-6; without drift it is 1e-7.

        Raises TypeError unless float32, and ValueError for a wrong shape, or for a block with a value
        that is not finite or above about 1e17: it names the row, and earlier blocks stay counted.
        """
        rows = checked(rows, len(self._mean))
        if block_rows < 1:
            raise ValueError(f"block_rows must be at least 1, got {block_rows}")
        for start in range(0, len(rows), block_rows):
            block = rows[start : start + block_rows]
            with np.errstate(over="ignore", invalid="ignore"):  # raised below, with the row
                mean = block.mean(axis=0, dtype=np.float64)
                shift = mean.astype(np.float32)
                centred = block - shift
                gram = centred.T @ centred  # the same array on both sides, so numpy calls ssyrk
            if not np.isfinite(gram.diagonal()).all():
                row = start + int(np.argmin(np.abs(block).max(axis=1) < 1e17))
                raise ValueError(
                    f"row {row} of {len(rows)} has a value that is not finite or too large"
                )
            self._absorb(len(block), mean, gram)
            _add_outer(self._scatter, mean - shift, -len(block))
        return self

    def merge(self, part: Statistics) -> Accumulator:
        """Add the rows behind `part`: O(d²). Raises ValueError if its columns differ."""
        if part.mean.shape != self._mean.shape:
            raise ValueError(f"cannot merge {len(part.mean)} columns into {len(self._mean)}")
        if part.count:
            self._absorb(part.count, part.mean, part.scatter)
        return self

    def statistics(self) -> Statistics:
        """The statistics of all rows. They are not copied, so another `add` or `merge` raises."""
        self._scatter.flags.writeable = False
        return Statistics(self._count, self._mean, self._scatter)

    def _absorb(self, count: int, mean: Array64, scatter: npt.NDArray[Any]) -> None:
        total = self._count + count
        delta = mean - self._mean
        self._scatter += scatter
        _add_outer(self._scatter, delta, self._count * (count / total))
        self._mean += delta * (count / total)
        self._count = total


def _add_outer(scatter: Array64, vector: Array64, weight: float) -> None:
    """scatter += weight * outer(vector, vector), kept exactly symmetric; no (d, d) temporary."""
    right = vector * math.sqrt(abs(weight))
    left = np.copysign(1.0, weight) * right[:, None]
    for top in range(0, len(right) if weight else 0, _STRIP_ROWS):
        strip = slice(top, top + _STRIP_ROWS)
        scatter[strip] += left[strip] * right


def checked(rows: npt.NDArray[Any], d: int) -> Array32:
    """Return `rows` if they are float32 (n, d), else raise TypeError or ValueError. Wider types are
    refused, not rounded: rounding before the mean is subtracted costs digits that the shift keeps."""
    rows = np.asarray(rows)
    if rows.dtype != np.float32:
        raise TypeError(f"rows must be float32, got {rows.dtype}")
    if rows.ndim != 2 or rows.shape[1] != d:
        raise ValueError(f"rows must have shape (n, {d}), got {rows.shape}")
    return rows
