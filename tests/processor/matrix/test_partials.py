"""Partial statistics: written by tasks, added by the driver, and none is left."""

from datetime import timedelta

import numpy as np
import pytest

from common.layout import StoreLayout
from processor.matrix import partials
from processor.matrix.moments import Statistics
from processor.store import objects
from tests.support.spectra import geometric, sample

ROWS = [sample(20 + n, geometric, seed=n) for n in range(3)]


@pytest.fixture
def layout(bucket: str) -> StoreLayout:
    return StoreLayout(f"s3://{bucket}/store/")


def left(layout: StoreLayout) -> list[str]:
    return [each.uri for each in objects.listing(layout.partial_results)]


def test_they_are_added_and_deleted(layout: StoreLayout) -> None:
    with partials.folder(layout) as folder:
        names = [partials.write(folder, Statistics.of(rows)) for rows in ROWS]
        partials.write(folder, Statistics.of(ROWS[0]))  # by a task that Spark has repeated
        assert len(left(layout)) == 4
        found = partials.merged(folder, names)
    wanted = Statistics.of(np.concatenate(ROWS))
    assert found
    assert found.count == wanted.count
    np.testing.assert_allclose(found.scatter, wanted.scatter, atol=1e-5 * wanted.scatter.max())
    assert left(layout) == []


def test_of_no_rows_there_are_none(layout: StoreLayout) -> None:
    with partials.folder(layout) as folder:
        assert partials.merged(folder, []) is None


def test_they_are_deleted_where_a_task_fails(layout: StoreLayout) -> None:
    def fails() -> None:
        with partials.folder(layout) as folder:
            partials.write(folder, Statistics.of(ROWS[0]))
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert left(layout) == []


def test_a_lost_one_is_an_error(layout: StoreLayout) -> None:
    with partials.folder(layout) as folder:
        name = partials.write(folder, Statistics.of(ROWS[0]))
        with pytest.raises(FileNotFoundError):
            partials.merged(folder, [name, "lost.npz"])


def test_what_a_killed_process_has_left_is_swept(layout: StoreLayout) -> None:
    objects.put(layout.statistics, b"kept")
    partials.write(f"{layout.partial_results}/killed", Statistics.of(ROWS[0]))
    assert partials.sweep(layout) == 0  # it may be of a fit that goes on
    assert partials.sweep(layout, timedelta(seconds=-2)) == 1
    assert left(layout) == []
    assert objects.exists(layout.statistics)
