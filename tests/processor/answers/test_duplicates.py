"""Near-duplicates among stored photos: their keys, whatever files they are in."""

import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from common.layout import StoreLayout
from processor.answers import rows
from processor.answers.duplicates import duplicates
from processor.answers.rows import StoredRows
from processor.errors import ServiceError
from tests.support.feature_files import commit_features, features_table


@pytest.fixture
def stored(tmp_path: Path) -> StoredRows:
    """Photos 3 and 27 are copies, 5, 14 and 33 nearly the same but for their lengths."""
    random = np.random.default_rng(1)
    features = random.random((40, 64), np.float32)
    features[27] = features[3]
    features[14], features[33] = 3 * features[5], features[5] + 0.005 * random.random(64)
    layout = StoreLayout(f"{tmp_path}/store/")
    commit_features(layout, features_table(features[:20]), features_table(features[20:], first=20))
    found = StoredRows.newest(layout)
    assert found
    return found


def named(*numbers: int) -> list[str]:
    return [f"photos/{n:06}.jpg" for n in numbers]


def test_the_largest_group_first(
    stored: StoredRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BLOCK_ROWS", 7)
    before = sorted(tmp_path.iterdir())
    assert duplicates(stored, 0.999, tmp_path) == [named(5, 14, 33), named(3, 27)]
    assert duplicates(stored, 1.0, tmp_path) == [named(3, 27), named(5, 14)]
    assert sorted(tmp_path.iterdir()) == before, "nothing is left"


def test_a_disk_that_is_full_is_said(stored: StoredRows, tmp_path: Path) -> None:
    """A limit on the size of files stands in for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ServiceError, match=r"service\.work_dir .*: "):
            duplicates(stored, 0.999, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
