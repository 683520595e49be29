"""The points of the map: photos in the plane of the first two components, each with its neighbours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10
THUMBNAIL_PIXELS = 64  # the longer side


@dataclass(frozen=True, eq=False)
class Points:
    """Photos in one order, which all fields share; n of them, a sample if ``population`` is more."""

    keys: list[str]
    labels: list[str]  # "" where the photo has none
    xy: NDArray[np.float32]  # n x 2: pc1, pc2
    neighbours: NDArray[np.int32]  # n x NEIGHBOURS: positions here, nearest first; -1: no more
    cosines: NDArray[np.float32]  # n x NEIGHBOURS: of the features; NaN where there is no neighbour
    thumbnails: list[bytes]  # WebP, THUMBNAIL_PIXELS on the longer side; b"" for none
    population: int  # photos in the matrix
