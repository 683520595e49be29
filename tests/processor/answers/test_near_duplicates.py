"""Near-duplicates: the groups are those of all pairs, whatever the bounds exclude."""

import numpy as np
import pytest

from processor.answers import near_duplicates
from processor.answers.near_duplicates import groups
from processor.answers.nearest import unit


def by_all_pairs(rows: np.ndarray, least: float) -> list[int]:
    """The specification: what is reachable by pairs, in float64."""
    exact = rows.astype(np.float64)
    reachable = exact @ exact.T >= least - near_duplicates.ROUNDING
    np.fill_diagonal(reachable, val=True)
    group = np.arange(len(rows))
    while True:
        smallest = np.where(reachable, group, len(rows)).min(axis=1)
        if (smallest == group).all():
            return group.tolist()
        group = smallest


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many leaves, and several parts beside each."""
    monkeypatch.setattr(near_duplicates, "LEAF_ROWS", 8)
    monkeypatch.setattr(near_duplicates, "BESIDE_ROWS", 50)
    monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", 64)


def drawn(rows: int, columns: int, seed: int) -> np.ndarray:
    """Clusters on a mean, and chains of rows each of which is near the one before."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((rows // 10, columns)) + 2
    chosen = centres[random.integers(0, len(centres), rows)]
    chosen = chosen + random.standard_normal((rows, columns)) * random.choice(
        [1e-3, 0.03, 0.5], (rows, 1)
    )
    for row in range(rows // 2, rows // 2 + 20):
        chosen[row] = chosen[row - 1] + 0.04 * random.standard_normal(columns)
    return unit(random.permutation(chosen).astype(np.float32))


@pytest.mark.parametrize("least", [0.9, 0.99, 0.999, 0.9999])
@pytest.mark.parametrize(("rows", "columns", "axes"), [(700, 40, 7), (501, 12, 31), (300, 64, 1)])
def test_the_groups_are_those_of_all_pairs(
    rows: int, columns: int, axes: int, least: float
) -> None:
    features = drawn(rows, columns, rows)
    expected = by_all_pairs(features, least)
    assert 1 < len(set(expected)) < rows
    assert groups(features, least, axes).tolist() == expected


def test_copies_are_found_at_a_cosine_of_1() -> None:
    random = np.random.default_rng(1)
    features = unit(random.random((200, 512), np.float32))
    features[150] = features[3]
    expected = list(range(200))
    expected[150] = 3
    assert groups(features, 1.0).tolist() == expected


def pairs_joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on, how many pairs each call joins."""
    joined: list[int] = []
    join = near_duplicates._join

    def counting(group: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        joined.append(len(left))
        join(group, left, right)

    monkeypatch.setattr(near_duplicates, "_join", counting)
    return joined


def test_equal_rows_cost_no_more_than_one_product_each(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.full((400, 16), 0.25, np.float32)
    joined = pairs_joined(monkeypatch)
    assert groups(features, 0.999).tolist() == [0] * 400
    assert sum(joined) < 8 * 400 + 8 * 8


def test_most_pairs_are_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds bound: of rows without near-duplicates hardly any pair is compared in full."""
    random = np.random.default_rng(2)
    axes = random.standard_normal((8, 64))
    features = unit((random.standard_normal((600, 8)) @ axes + 3).astype(np.float32))
    joined = pairs_joined(monkeypatch)
    assert groups(features, 0.9999).tolist() == list(range(600))
    assert joined == []


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows(rows: int) -> None:
    assert groups(np.ones((rows, 4), np.float32) / 2, 0.999).tolist() == [0] * rows


def test_a_row_of_zeros_is_like_no_other() -> None:
    features = np.zeros((5, 4), np.float32)
    features[1, 0] = 1
    assert groups(features, 0.5).tolist() == list(range(5))


def test_the_share_of_pairs_that_is_done_is_noted() -> None:
    features = unit(np.random.default_rng(3).random((32, 16), np.float32))  # four leaves
    shares: list[float] = []
    groups(features, 0.999, note=shares.append)
    assert shares == pytest.approx([7 / 16, 12 / 16, 15 / 16, 1])
