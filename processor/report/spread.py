"""The spread of points: an order whose every beginning covers the whole map.

The page shows pictures where there is room: a few over the whole map, more of each part as one zooms in.
Its pictures come in sheets, in this order, so what a view shows lies in few of them.
"""

import numpy as np
from numpy.typing import NDArray

_BITS = 16  # of each coordinate


def spread(xy: NDArray[np.float32]) -> NDArray[np.int64]:
    """Positions in ``xy`` (n x 2, finite), first one point of each quarter of the map, then of each
    sixteenth, and so on; those of one step along a Z-order curve (Morton, 1966). O(n log n)."""
    codes = _codes(xy.astype(np.float64))
    along = np.argsort(codes, kind="stable")
    ordered = codes[along]
    differs = ordered ^ np.concatenate([[np.int64(1) << (2 * _BITS)], ordered[:-1]])
    # The higher the pair of bits in which a point differs from the one before it on the curve, the
    # larger the squares of which it is the first.
    coarsest = (np.frexp(differs.astype(np.float64))[1] + 1) // 2
    return along[np.argsort(-coarsest, kind="stable")]


def _codes(xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bits of both coordinates, interleaved."""
    if not len(xy):
        return np.empty(0, np.int64)
    low = xy.min(axis=0)
    extent = float((xy.max(axis=0) - low).max()) or 1.0
    cells = np.minimum((xy - low) / extent * 2**_BITS, 2**_BITS - 1).astype(np.int64)
    codes = np.zeros(len(xy), np.int64)
    for bit in range(_BITS):
        codes |= (cells[:, 0] >> bit & 1) << (2 * bit) | (cells[:, 1] >> bit & 1) << (2 * bit + 1)
    return codes
