"""The sample: decided by the keys alone, and hardly changed by growth."""

import random

import pyarrow as pa
import pytest

from processor.report import sample
from processor.report.sample import MOST_BYTES, MOST_PHOTOS, Sample, hashes

KEYS = [f"photos/L{n % 7}/ü {n}.jpg" for n in range(3000)]


def drawn(keys: list[str], most: int, part: int = 100) -> list[str]:
    found = Sample(most)
    for start in range(0, len(keys), part):
        found.offer(pa.table({"key": keys[start : start + part]}))
    assert found.population == len(keys)
    rows = found.rows()
    assert rows is not None
    return rows["key"].to_pylist()


def test_it_is_those_with_the_lowest_hashes() -> None:
    wanted = sorted(KEYS, key=lambda key: int(hashes(pa.array([key]))[0]))[:500]
    assert drawn(KEYS, 500) == sorted(wanted)


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = random.Random(1).sample(KEYS, len(KEYS))
    assert drawn(KEYS, 500) == drawn(shuffled, 500, part=731)


def test_growth_only_replaces_as_many_as_are_new() -> None:
    before, after = set(drawn(KEYS[:2000], 500)), set(drawn(KEYS, 500))
    assert after - before <= set(KEYS[2000:])
    assert len(after & before) == pytest.approx(500 * 2 / 3, abs=60)


def test_a_small_store_is_shown_whole() -> None:
    assert drawn(KEYS[:99], 99) == drawn(KEYS[:99], 5000) == sorted(KEYS[:99])


def test_before_the_first_part_there_is_none() -> None:
    assert Sample(10).rows() is None


def test_the_size_is_bounded_by_memory() -> None:
    assert sample.size(512) == MOST_PHOTOS
    assert sample.size(4096) * 4096 * 4 == MOST_BYTES


def test_the_hash_is_pinned() -> None:
    """Another one would be another sample for every store."""
    assert hex(int(hashes(pa.array(["photos/a.jpg"]))[0])) == "0x9c635a2a46932f01"
