"""The stored rows: each is seen once, whatever the data files."""

import threading
from pathlib import Path

import numpy as np
import pytest

from common.layout import StoreLayout
from processor.answers import rows
from processor.answers.rows import Block, StoredRows
from tests.support.feature_files import NETWORK, commit_features, features_table


def test_each_row_is_seen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_ROWS", 7)
    layout = StoreLayout(f"{tmp_path}/")
    assert StoredRows.newest(layout) is None
    features = np.random.default_rng(1).random((50, 4), np.float32)
    written = commit_features(
        layout, *(features_table(features[n : n + 20], first=n) for n in (0, 20, 40))
    )
    stored = StoredRows.newest(layout)
    assert stored
    assert (stored.photos, stored.network, stored.table_version) == (50, NETWORK, 1)
    seen: dict[str, tuple[str | None, list[float]]] = {}
    lock = threading.Lock()

    def take(block: Block) -> None:
        assert len(block.features) <= 7
        with lock:
            for key, label, each in zip(
                block.keys.to_pylist(), block.labels.to_pylist(), block.features, strict=True
            ):
                assert seen.setdefault(key, (label, each.tolist()))

    stored.scan(take)
    assert len(seen) == 50
    for row in range(50):
        label = f"L{row}" if row % 2 else None
        assert seen[f"photos/{row:06}.jpg"] == (label, features[row].tolist())
    seen.clear()
    stored.scan(take, [written[2].path])
    assert len(seen) == 10


def test_what_the_taker_raises_is_raised(tmp_path: Path) -> None:
    layout = StoreLayout(f"{tmp_path}/")
    commit_features(layout, features_table(np.ones((3, 4), np.float32)))
    stored = StoredRows.newest(layout)
    assert stored

    def fail(_: Block) -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        stored.scan(fail)
