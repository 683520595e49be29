"""The spread: an order of all points, every beginning of which covers the map."""

import numpy as np
import pytest

from processor.report.spread import spread


def drawn(count: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 2)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_it_is_an_order_of_all(count: int) -> None:
    assert sorted(spread(drawn(count))) == list(range(count))


def test_every_beginning_covers_the_map() -> None:
    """16 x 16 squares: as many of the first points are in squares of their own as there are any."""
    xy = np.random.default_rng(5).uniform(size=(20_000, 2)).astype(np.float32)
    order = spread(xy)
    for side in (2, 4, 16):
        first = np.floor(xy[order[: side * side]] * side * 0.9999).astype(int)
        assert len(np.unique(first, axis=0)) > 0.9 * side * side


def test_what_is_near_in_the_plane_is_near_in_the_order() -> None:
    xy = np.random.default_rng(7).uniform(size=(20_000, 2)).astype(np.float32)
    rest = xy[spread(xy)[10_000:]]
    assert np.median(np.linalg.norm(np.diff(rest, axis=0), axis=1)) < 0.02  # by chance: 0.5


def test_points_that_are_all_the_same() -> None:
    assert list(spread(np.ones((4, 2), np.float32))) == [0, 1, 2, 3]
