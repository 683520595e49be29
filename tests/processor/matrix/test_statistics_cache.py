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
from processor.store.datafiles import DataFile, Swap

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


def moved(sources: Collection[str], target: str) -> Swap:
    """A compaction of all rows of some files."""
    files = {name: DataFile(name, 1, 1, "", "") for name in (*sources, target)}
    return Swap(tuple(files[name] for name in sources), (files[target],))


def test_rows_that_a_compaction_has_moved_are_not_read_again(
    store: StoreLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of files that the cache has, and of new ones, which are read where they were."""
    known, new = set(NAMES[:4]), {NAMES[4]}
    for path, sources in {"merged": NAMES[3:5], "again": NAMES[2:5], "new": NAMES[5:7]}.items():
        monkeypatch.setitem(ROWS, path, np.concatenate([ROWS[name] for name in sources]))
    read = Reading()
    statistics_cache.statistics(store, known, read)
    swaps = [moved(NAMES[3:5], "merged"), moved([NAMES[2], "merged"], "again")]
    statistics_cache.follow(store, [*swaps, moved(NAMES[5:7], "new")])
    live = {*NAMES[:2], "again", "new"}
    assert_equal(statistics_cache.statistics(store, live, read), straight(NAMES[:7]))
    assert read.calls == [known, new, {"new"}]
    assert_equal(statistics_cache.statistics(store, live, read), straight(NAMES[:7]))
    assert len(read.calls) == 3


def test_if_what_a_compaction_has_moved_is_vacuumed_everything_is_read(
    store: StoreLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Reading()
    statistics_cache.statistics(store, NAMES[:4], read)
    monkeypatch.setitem(ROWS, "merged", np.concatenate([ROWS[name] for name in NAMES[3:5]]))
    statistics_cache.follow(store, [moved(NAMES[3:5], "merged")])
    read.lost = {NAMES[4]}
    live = {*NAMES[:3], "merged"}
    assert_equal(statistics_cache.statistics(store, live, read), straight(NAMES[:5]))
    assert read.calls[-1] == live


def test_it_survives_serialisation() -> None:
    found = straight(NAMES)
    assert found
    cached = CachedStatistics(frozenset(NAMES), found, 3, frozenset({"merged"}))
    again = CachedStatistics.from_bytes(cached.to_bytes())
    assert (again.files, again.subtracted, again.lacking) == (cached.files, 3, cached.lacking)
    np.testing.assert_array_equal(again.statistics.scatter, found.scatter)
    empty = CachedStatistics(frozenset(), Statistics.empty(2))
    assert CachedStatistics.from_bytes(empty.to_bytes()).files == frozenset()
