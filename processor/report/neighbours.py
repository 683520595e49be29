"""The neighbours of rows among themselves: those with the largest cosine, exactly, block by block.

Pure NumPy, independent of files, tables and Spark.
"""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]

BLOCK_ROWS = 2048  # a product of two blocks is 16 MB


def nearest(rows: Rows, count: int, block_rows: int = BLOCK_ROWS) -> tuple[Positions, Rows]:
    """For each of n unit rows the ``count`` others with the largest cosines, the nearest first.

    float32 (n, d) to their positions, int32 (n, count), and the cosines, float32 (n, count); -1 and NaN
    where there are fewer others. Of equal cosines any. Time: n² d / 2 multiply-adds, because a product
    of two blocks serves both. Memory: 8 ``count`` bytes a row, and three such products.
    """
    found = _Found(len(rows), count)
    starts = range(0, len(rows), block_rows)
    blocks = [rows[start : start + block_rows] for start in starts]
    for start, block in zip(starts, blocks, strict=True):  # first, or all others would be better
        cosines = block @ block.T
        np.fill_diagonal(cosines, -np.inf)  # nobody is a neighbour of itself
        found.begin(start, cosines)
    for number, (start, block) in enumerate(zip(starts, blocks, strict=True)):
        for other, beside in zip(starts[number + 1 :], blocks[number + 1 :], strict=True):
            found.offer(start, other, block @ beside.T)
    lacking = np.isneginf(found.cosines)
    found.positions[lacking] = -1
    found.cosines[lacking] = np.nan
    return found.positions, np.minimum(found.cosines, np.float32(1))  # rounding may exceed it


class _Found:
    """The nearest rows so far; -inf as the cosine of those that are lacking."""

    def __init__(self, rows: int, count: int) -> None:
        self.positions = np.full((rows, count), -1, np.int32)
        self.cosines = np.full((rows, count), -np.inf, np.float32)

    def begin(self, start: int, cosines: Rows) -> None:
        """Consider the rows of one block as each other's neighbours."""
        most = min(self.cosines.shape[1], len(cosines))
        column = np.argpartition(cosines, -most, axis=1)[:, -most:].ravel()
        row = np.repeat(np.arange(len(cosines)), most)
        self._merge(start, row, column + start, cosines[row, column])

    def offer(self, start: int, other: int, cosines: Rows) -> None:
        """Consider the rows of two blocks as neighbours of those of the other, both ways."""
        count, beside = cosines.shape
        row, column = np.nonzero(cosines > self.cosines[start : start + count, -1, None])
        self._merge(start, row, column + other, cosines[row, column])
        row, column = np.nonzero(cosines > self.cosines[other : other + beside, -1])
        self._merge(other, column, row + start, cosines[row, column])

    def _merge(
        self,
        first: int,
        row: npt.NDArray[np.intp],
        position: npt.NDArray[np.intp],
        cosine: Rows,
    ) -> None:
        """Keep the best of these and those found before, for each row that is in ``row``."""
        count = self.cosines.shape[1]
        touched = np.unique(row)
        rows = np.concatenate([row, np.repeat(touched, count)])
        positions = np.concatenate([position, self.positions[first + touched].ravel()])
        values = np.concatenate([cosine, self.cosines[first + touched].ravel()])
        order = np.lexsort((positions, -values, rows))
        starts = np.searchsorted(rows[order], touched)
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        kept = order[rank < count]
        self.positions[first + touched] = positions[kept].reshape(-1, count)
        self.cosines[first + touched] = values[kept].reshape(-1, count)
