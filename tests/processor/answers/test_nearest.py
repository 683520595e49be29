"""The nearest rows: those of a full sort, however the table is cut into blocks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from processor.answers.nearest import SAME, Nearest, unit

KEYS = pa.array([f"k{n:04}" for n in range(1000)])
LABELS = pa.array([None if n % 3 else f"L{n}" for n in range(1000)])


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(3).random((1000, 16), np.float32) * 9


def by_sorting(rows: np.ndarray, query: np.ndarray, count: int) -> list[str]:
    exact, given = rows.astype(np.float64), query.astype(np.float64)
    cosines = exact @ given / np.linalg.norm(exact, axis=1) / np.linalg.norm(given)
    return [f"k{n:04}" for n in np.argsort(-cosines)[:count]]


@pytest.mark.parametrize(("block", "threads"), [(1000, 1), (7, 1), (13, 4)])
def test_whatever_the_blocks_and_threads(rows: np.ndarray, block: int, threads: int) -> None:
    queries = np.random.default_rng(4).random((5, 16), np.float32)
    nearest = Nearest(queries, 12)

    def offer(start: int) -> None:
        part = slice(start, start + block)
        nearest.offer(rows[part], KEYS[part], LABELS[part])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(offer, range(0, len(rows), block)))
    for query, found in zip(queries, nearest.found(), strict=True):
        assert [each.key for each in found] == by_sorting(rows, query, 12)
        assert {each.label for each in found} == {
            LABELS[int(each.key[1:])].as_py() for each in found
        }
        assert [each.cosine for each in found] == sorted((e.cosine for e in found), reverse=True)


def test_copies_are_left_out_where_a_photo_is_compared_with_its_own_store(rows: np.ndarray) -> None:
    nearest, without = Nearest(rows[:9], 1), Nearest(rows[:9], 1, below=SAME)
    for each in (nearest, without):
        each.offer(rows, KEYS, LABELS)
    assert [found[0].key for found in nearest.found()] == KEYS[:9].to_pylist()
    for row, found in enumerate(without.found()):
        assert found[0].key == by_sorting(rows, rows[row], 2)[1]


def test_fewer_rows_than_wanted_and_none(rows: np.ndarray) -> None:
    nearest = Nearest(rows[:1], 5)
    assert nearest.found() == [[]]
    nearest.offer(rows[:3], KEYS[:3], LABELS[:3])
    assert [each.key for each in nearest.found()[0]] == by_sorting(rows[:3], rows[0], 3)


def test_rows_of_zeros_are_near_nothing() -> None:
    zeros = np.zeros((2, 4), np.float32)
    assert not unit(zeros).any()
    nearest = Nearest(zeros[:1], 2)
    nearest.offer(zeros, KEYS[:2], LABELS[:2])
    assert [each.cosine for each in nearest.found()[0]] == [0, 0]
