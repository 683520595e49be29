"""The features snapshot: one version, which does not change when the table does."""

from pathlib import Path

import numpy as np
import pytest

from common.layout import StoreLayout
from processor.matrix.snapshot import FeaturesSnapshot
from tests.support.feature_files import NETWORK, commit_features, features_table


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    return StoreLayout(f"{tmp_path}/store/")


def rows(count: int):
    return features_table(np.ones((count, 4), np.float32))


def test_there_is_none_before_the_first_micro_batch(layout: StoreLayout) -> None:
    assert FeaturesSnapshot.newest(layout) is None


def test_it_describes_the_newest_version(layout: StoreLayout) -> None:
    one, two = commit_features(layout, rows(3), rows(2))
    found = FeaturesSnapshot.newest(layout)
    assert found
    assert (found.folder, found.network) == (layout.features, NETWORK)
    assert (found.table_version, found.photos) == (1, 5)
    assert found.sizes == {one.path: one.size, two.path: two.size}


def test_it_does_not_change_with_the_table(layout: StoreLayout) -> None:
    (old,) = commit_features(layout, rows(3))
    before = FeaturesSnapshot.newest(layout)
    (new,) = commit_features(layout, rows(2), removed=(old,))
    assert before
    assert (before.table_version, before.photos, {*before.sizes}) == (1, 3, {old.path})
    after = FeaturesSnapshot.newest(layout)
    assert after
    assert (after.table_version, after.photos, {*after.sizes}) == (2, 2, {new.path})


def test_whether_photos_changed_since_a_version(layout: StoreLayout) -> None:
    commit_features(layout, rows(3))
    commit_features(layout)  # a micro-batch without a row
    found = FeaturesSnapshot.newest(layout)
    assert found
    assert [found.photos_changed_since(version) for version in (0, 1, 2)] == [True, False, False]
