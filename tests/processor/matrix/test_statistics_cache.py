"""Known statistics: equal to those of all rows, by reading as few files as possible."""

from collections.abc import Callable, Collection

import boto3
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.matrix import statistics_cache
from processor.matrix.moments import Statistics
from processor.matrix.statistics_cache import Known
from processor.store import datafiles

ROWS = {
    f"part-{n}.parquet": np.random.default_rng(n).normal(n / 10, 1.0, (3 + n, 4)).astype(np.float32)
    for n in range(10)
}
NAMES = sorted(ROWS)


class Reading:
    """Reads statistics of :data:`ROWS`, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.lost: set[str] = set()

    def __call__(self, names: Collection[str]) -> Statistics | None:
        self.asked.append(set(names))
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
def uri(bucket: str) -> str:
    return f"s3://{bucket}/store/"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=6))
def test_any_history_ends_in_the_statistics_of_what_is_there(
    uri: str, steps: list[set[str]]
) -> None:
    for live in steps:
        assert_equal(statistics_cache.statistics(uri, live, Reading()), straight(live))


def test_only_what_came_and_went_is_read(uri: str) -> None:
    read = Reading()
    first, second = set(NAMES[2:9]), {*NAMES[3:9], NAMES[9]}
    statistics_cache.statistics(uri, first, read)
    statistics_cache.statistics(uri, second, read)
    assert_equal(statistics_cache.statistics(uri, second, read), straight(second))
    assert read.asked == [first, {NAMES[2]}, {NAMES[9]}]


def lose(uri: str) -> None:
    bucket, prefix = datafiles.split(uri)
    boto3.client("s3").delete_object(Bucket=bucket, Key=f"{prefix}models/statistics.npz")


def damage(uri: str) -> None:
    bucket, prefix = datafiles.split(uri)
    key = f"{prefix}models/statistics.npz"
    client = boto3.client("s3")
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    client.put_object(Bucket=bucket, Key=key, Body=body[:-100])


@pytest.mark.parametrize("harm", [lose, damage])
def test_a_cache_that_is_of_no_use_is_made_again(uri: str, harm: Callable[[str], None]) -> None:
    read = Reading()
    live = set(NAMES[:5])
    statistics_cache.statistics(uri, live, read)
    harm(uri)
    assert_equal(statistics_cache.statistics(uri, live, read), straight(live))
    assert read.asked == [live, live]
    assert statistics_cache.load(uri)


def test_when_a_file_that_went_is_vacuumed_all_is_read(uri: str) -> None:
    read = Reading()
    statistics_cache.statistics(uri, set(NAMES[:5]), read)
    read.lost = {NAMES[0]}
    live = set(NAMES[1:6])
    assert_equal(statistics_cache.statistics(uri, live, read), straight(live))
    assert read.asked[-1] == live


def test_what_shares_little_with_the_past_is_read_anew(uri: str) -> None:
    read = Reading()
    statistics_cache.statistics(uri, NAMES, read)
    statistics_cache.statistics(uri, NAMES[:1], read)  # 3 of 75 rows
    assert read.asked[-1] == set(NAMES[:1])


def test_after_many_removals_all_is_read_anew(uri: str) -> None:
    read = Reading()
    statistics_cache.statistics(uri, NAMES, read)
    for last in (9, 8, 7, 6):
        statistics_cache.statistics(uri, NAMES[:last], read)
    assert read.asked[1:3] == [{NAMES[9]}, {NAMES[8]}]
    assert read.asked[-1] == set(NAMES[:6])  # 42 rows would be taken away, 33 are left


def test_it_survives_its_bytes() -> None:
    found = straight(NAMES)
    assert found
    kept = Known(frozenset(NAMES), found)
    again = Known.from_bytes(kept.to_bytes())
    assert again.files == kept.files
    np.testing.assert_array_equal(again.statistics.scatter, found.scatter)
    empty = Known(frozenset(), Statistics.empty(2))
    assert Known.from_bytes(empty.to_bytes()).files == frozenset()
