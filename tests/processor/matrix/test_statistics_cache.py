"""The statistics cache: the statistics of all rows, by reading as few files as possible."""

from collections.abc import Callable, Collection

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.layout import StoreLayout
from processor.matrix import statistics_cache
from processor.matrix.moments import Statistics
from processor.matrix.statistics_cache import CachedStatistics
from processor.store import objects

ROWS = {
    f"part-{n}.parquet": np.random.default_rng(n).normal(n / 10, 1.0, (3 + n, 4)).astype(np.float32)
    for n in range(10)
}
NAMES = sorted(ROWS)


class Reading:
    """Reads statistics of :data:`ROWS`, and records which files."""

    def __init__(self) -> None:
        self.calls: list[set[str]] = []
        self.lost: set[str] = set()

    def __call__(self, names: Collection[str]) -> Statistics | None:
        self.calls.append(set(names))
        if self.lost & set(names):
            raise FileNotFoundError("vacuumed")
        return straight(names)


def straight(names: Collection[str]) -> Statistics | None:
    rows = [ROWS[name] for name in sorted(names)]
    return Statistics.of(np.concatenate(rows)) if rows else None


def assert_equal(found: Statistics | None, wanted: Statistics | None) -> None:
    if wanted is None:
        assert found is None
        return
    assert found is not None
    assert found.count == wanted.count
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        found.scatter, wanted.scatter, atol=1e-6 * np.abs(wanted.scatter).max()
    )


@pytest.fixture
def store(bucket: str) -> StoreLayout:
    return StoreLayout(f"s3://{bucket}/store/")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=6))
def test_any_history_ends_in_the_statistics_of_the_live_files(
    store: StoreLayout, steps: list[set[str]]
) -> None:
    for live in steps:
        assert_equal(statistics_cache.statistics(store, live, Reading()), straight(live))


def test_only_added_and_removed_files_are_read(store: StoreLayout) -> None:
    read = Reading()
    first, second = set(NAMES[2:9]), {*NAMES[3:9], NAMES[9]}
    statistics_cache.statistics(store, first, read)
    statistics_cache.statistics(store, second, read)
    assert_equal(statistics_cache.statistics(store, second, read), straight(second))
    assert read.calls == [first, {NAMES[2]}, {NAMES[9]}]


def lose(store: StoreLayout) -> None:
    objects.delete(store.statistics)


def damage(store: StoreLayout) -> None:
    body = objects.get(store.statistics)
    assert body
    objects.put(store.statistics, body[:-100])


@pytest.mark.parametrize("harm", [lose, damage])
def test_a_lost_or_damaged_cache_is_rebuilt(
    store: StoreLayout, harm: Callable[[StoreLayout], None]
) -> None:
    read = Reading()
    live = set(NAMES[:5])
    statistics_cache.statistics(store, live, read)
    harm(store)
    assert_equal(statistics_cache.statistics(store, live, read), straight(live))
    assert read.calls == [live, live]
    assert statistics_cache.load(store)


def test_if_a_removed_file_is_vacuumed_everything_is_read(store: StoreLayout) -> None:
    read = Reading()
    statistics_cache.statistics(store, set(NAMES[:5]), read)
    read.lost = {NAMES[0]}
    live = set(NAMES[1:6])
    assert_equal(statistics_cache.statistics(store, live, read), straight(live))
    assert read.calls[-1] == live


def test_if_few_rows_are_left_everything_is_read(store: StoreLayout) -> None:
    read = Reading()
    statistics_cache.statistics(store, NAMES, read)
    statistics_cache.statistics(store, NAMES[:1], read)  # 3 of 75 rows
    assert read.calls[-1] == set(NAMES[:1])


def test_after_many_removals_everything_is_read(store: StoreLayout) -> None:
    read = Reading()
    statistics_cache.statistics(store, NAMES, read)
    for last in (9, 8, 7, 6):
        statistics_cache.statistics(store, NAMES[:last], read)
    assert read.calls[1:3] == [{NAMES[9]}, {NAMES[8]}]
    assert read.calls[-1] == set(NAMES[:6])  # 42 rows would be subtracted, 33 are left


def test_it_survives_serialisation() -> None:
    found = straight(NAMES)
    assert found
    cached = CachedStatistics(frozenset(NAMES), found)
    again = CachedStatistics.from_bytes(cached.to_bytes())
    assert again.files == cached.files
    np.testing.assert_array_equal(again.statistics.scatter, found.scatter)
    empty = CachedStatistics(frozenset(), Statistics.empty(2))
    assert CachedStatistics.from_bytes(empty.to_bytes()).files == frozenset()
