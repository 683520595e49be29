"""The neighbours: those that comparing all pairs finds."""

import numpy as np
import pytest

from processor.answers.nearest import unit
from processor.report.neighbours import nearest


def rows(count: int, columns: int = 16) -> np.ndarray:
    return unit(np.random.default_rng(count).standard_normal((count, columns), np.float32))


@pytest.mark.parametrize(
    ("count", "wanted", "block"), [(1, 3, 8), (2, 3, 1), (5, 10, 2), (10, 10, 64), (301, 10, 64)]
)
def test_they_are_those_of_all_pairs(count: int, wanted: int, block: int) -> None:
    given = rows(count)
    positions, cosines = nearest(given, wanted, block)
    pairs = given @ given.T
    np.fill_diagonal(pairs, -np.inf)
    there = min(wanted, count - 1)
    np.testing.assert_allclose(cosines[:, :there], -np.sort(-pairs)[:, :there], atol=1e-6)
    of_these = np.take_along_axis(pairs, positions[:, :there].astype(np.int64), axis=1)
    np.testing.assert_allclose(cosines[:, :there], of_these, atol=1e-6)
    assert all(len(set(each)) == there for each in positions[:, :there].tolist())
    assert (positions[:, there:] == -1).all()
    assert np.isnan(cosines[:, there:]).all()
    assert (positions.dtype, cosines.dtype) == (np.int32, np.float32)


def test_copies_are_neighbours_and_their_cosine_is_one_at_most() -> None:
    given = np.repeat(rows(1, 100), 50, axis=0)
    positions, cosines = nearest(given, 10, 16)
    assert (positions != np.arange(50)[:, None]).all()
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    assert (cosines <= 1).all()


def test_a_row_of_zeros_is_like_no_other() -> None:
    given = rows(4)
    given[2] = 0
    _, cosines = nearest(given, 3)
    assert (cosines[2] == 0).all()
