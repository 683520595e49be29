"""Near-duplicates: which rows have nearly the same direction, exactly, in bounded memory.

Pure numpy, independent of files, tables and Spark.

Two rows are near-duplicates if the cosine between them reaches a limit; a group is what such pairs
connect. To compare all pairs takes n² d / 2 multiply-adds. Most are excluded by two bounds that never
exclude a near-duplicate:

* With K orthonormal axes, the coordinates of a unit row along them and, as one more coordinate, the
  length of what is left make a unit vector again, its *sketch*. The cosine of two sketches is no smaller
  than that of the rows (Cauchy and Schwarz, applied to what is left), and costs K + 1 multiply-adds.
* Sketches are unit vectors, so a cosine of c is a distance of sqrt(2 - 2 c). Rows are ordered as the
  leaves of a k-d tree of the sketches (Bentley, Multidimensional binary search trees used for
  associative searching, 1975). Two leaves whose bounding boxes are further apart than that share no
  near-duplicate.

The axes are the leading singular vectors of a sample. Any would do; these leave the least.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

AXES = 31  # with 15 more pairs remain, with 63 each costs twice as much
LEAF_ROWS = 256
SAMPLE_ROWS = 1024
BLOCK_ROWS = 8192
BESIDE_ROWS = 4096  # that a leaf is compared with at once
ROUNDING = 1e-6  # of a float32 product of unit rows
SLACK = 1e-5  # of the products of sketches, whose last coordinates are differences


def groups(
    rows: Rows,
    least_cosine: float,
    axes: int = AXES,
    note: Callable[[float], object] = lambda _share: None,
) -> Numbers:
    """For each row the smallest number of a row in its group: float32 unit rows (n, d) to int64 (n,).

    ``rows`` may be a memory map, read in blocks. Memory: 4 (K + 1) + 24 bytes a row, and some 50 MB.
    Time: n² / 2 products of sketches at worst; that of what is left of them otherwise. ``note`` gets
    the share of all pairs that are compared or excluded, again and again. Products are float32, so a
    pair that misses the limit by their rounding, 1e-6, counts. A row of zeros is like no other.
    """
    group = np.arange(len(rows))
    if not len(rows):
        return group
    sketches = _sketches(rows, _axes(rows, axes))
    order = _leaves(sketches)
    starts = np.arange(0, len(rows), LEAF_ROWS)
    leaves = [order[start : start + LEAF_ROWS] for start in starts]
    lows = np.stack([sketches[leaf].min(axis=0) for leaf in leaves])
    highs = np.stack([sketches[leaf].max(axis=0) for leaf in leaves])
    reach = 2 - 2 * least_cosine + 4 * SLACK
    for number, leaf in enumerate(leaves):
        gaps = np.maximum(lows[number:] - highs[number], lows[number] - highs[number:])
        np.maximum(gaps, 0, out=gaps)
        near = number + np.flatnonzero(np.einsum("ij,ij->i", gaps, gaps) <= reach)
        for others in _positions(starts[near], len(rows)):
            _join_near(group, rows, sketches, leaf, order[others], least_cosine)
        note(1 - (1 - (number + 1) / len(leaves)) ** 2)
    return _roots(group, group)


def _positions(starts: Numbers, end: int) -> Iterator[Numbers]:
    """The positions that some leaves have in the order, BESIDE_ROWS at a time."""
    positions = (starts[:, None] + np.arange(LEAF_ROWS)).ravel()
    positions = positions[positions < end]  # the last leaf may be short
    for first in range(0, len(positions), BESIDE_ROWS):
        yield positions[first : first + BESIDE_ROWS]


def _axes(rows: Rows, axes: int) -> Rows:
    sample = rows[np.linspace(0, len(rows) - 1, min(SAMPLE_ROWS, len(rows))).astype(np.int64)]
    leading: Rows = np.linalg.svd(sample, full_matrices=False)[2][:axes]
    return leading


def _sketches(rows: Rows, axes: Rows) -> Rows:
    sketches = np.empty((len(rows), len(axes) + 1), np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        along = block @ axes.T
        lengths = np.einsum("ij,ij->i", block, block)
        left = lengths - np.einsum("ij,ij->i", along, along)
        sketches[start : start + len(block), :-1] = along
        # Rather too long: the root of what rounding leaves of nothing is far from it.
        sketches[start : start + len(block), -1] = np.sqrt(np.maximum(left, 0) + SLACK)
    return sketches


def _leaves(sketches: Rows) -> Numbers:
    """Rows in an order in which each LEAF_ROWS of them, from the first on, are a leaf."""
    order = np.arange(len(sketches))
    parts = [order]
    while parts:
        part = parts.pop()
        if len(part) <= LEAF_ROWS:
            continue
        some = sketches[part[:: max(1, len(part) // SAMPLE_ROWS)]]
        widest = int(np.argmax(some.max(axis=0) - some.min(axis=0)))
        middle = LEAF_ROWS * (-(-len(part) // LEAF_ROWS) // 2)
        part[:] = part[np.argpartition(sketches[part, widest], middle)]
        parts += [part[:middle], part[middle:]]
    return order


def _join_near(
    group: Numbers, rows: Rows, sketches: Rows, leaf: Numbers, others: Numbers, least: float
) -> None:
    """Join the groups of all pairs of a row in ``leaf`` and one in ``others`` that are near."""
    roots = _roots(group, leaf)
    if (roots == roots[0]).all():  # or a thousand copies would cost a million pairs
        others = others[_roots(group, others) != roots[0]]
    left, right = np.nonzero(sketches[leaf] @ sketches[others].T >= least - SLACK)
    apart = _roots(group, leaf[left]) != _roots(group, others[right])
    if not apart.any():
        return
    some, left = np.unique(leaf[left[apart]], return_inverse=True)
    more, right = np.unique(others[right[apart]], return_inverse=True)
    near = (rows[some] @ rows[more].T)[left, right] >= least - ROUNDING
    _join(group, some[left[near]], more[right[near]])


def _join(group: Numbers, left: Numbers, right: Numbers) -> None:
    """Union-find, of many pairs at once: the larger root of each is hung below the smaller."""
    while len(left):
        roots = _roots(group, left), _roots(group, right)
        np.minimum.at(group, np.maximum(*roots), np.minimum(*roots))
        apart = roots[0] != roots[1]
        left, right = left[apart], right[apart]


def _roots(group: Numbers, rows: Numbers) -> Numbers:
    """The roots of some rows, which hang directly below them afterwards."""
    roots = group[rows]
    while ((above := group[roots]) != roots).any():
        roots = above
    group[rows] = roots
    return roots
