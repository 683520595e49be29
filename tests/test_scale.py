"""The benchmark of scale: its photos, its bucket, its steps on a small store, its table."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import scale
from benchmarks.harness.errors import BenchError
from benchmarks.harness.opened import Opened
from benchmarks.harness.step import Step
from benchmarks.workloads import random_photos, scaled_store
from benchmarks.workloads.disk_store import OnDisk, fill
from benchmarks.workloads.drawn_features import COLUMNS
from benchmarks.workloads.listed_photos import BUCKET, Pages
from benchmarks.workloads.random_photos import FILE_ROWS, Drawn
from benchmarks.workloads.scaled_store import OVERWRITTEN
from processor.store import delta

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def test_photos_come_in_random_order_and_have_keys_of_their_own() -> None:
    ranks = random_photos.ranks(range(5000))
    keys = random_photos.keys(ranks).to_pylist()
    assert len(set(keys)) == len(set(random_photos.etags(ranks).to_pylist())) == 5000
    assert keys[1] == "photos/label-56/e220a8397b1dcdaf.jpg"
    assert sorted(keys) == random_photos.keys(np.sort(ranks)).to_pylist() != keys
    assert [random_photos.rank_of(key) for key in keys] == ranks.tolist()


def test_the_bucket_lists_all_photos_in_the_order_of_their_keys() -> None:
    pages, listed, more = Pages(2500), list[str](), True
    while more:
        page = ElementTree.fromstring(pages.after(listed[-1] if listed else ""))
        listed += [each.text or "" for each in page.iter(f"{NAMESPACE}Key")]
        more = page.findtext(f"{NAMESPACE}IsTruncated") == "true"
    assert listed == sorted(random_photos.keys(random_photos.ranks(range(2500))).to_pylist())


def test_files_are_counted_when_they_are_opened(tmp_path: Path) -> None:
    for name in ("seen", "unseen"):
        (tmp_path / name).write_bytes(b"")
    with Opened([tmp_path]) as opened:
        (tmp_path / "seen").read_bytes()
        assert opened.names() == {"seen"}
        assert opened.names() == set()


def test_a_store_is_filled_started_added_to_and_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = Drawn((np.zeros((FILE_ROWS, COLUMNS), np.float32),))
    monkeypatch.setattr(Drawn, "of", lambda **_: zeros)
    layout, work = OnDisk(BUCKET, folder=str(tmp_path / "store")), tmp_path / "work"
    fill(layout, work, 0, 5000)
    filled = delta.open_table(layout.store.features)
    assert filled is not None
    assert filled.rows == 5000
    assert scaled_store.start(layout, work).figures["rows"] == 5000
    uploads = scaled_store.Uploads(layout, work)
    uploads.put(range(5000, 7048))
    uploads.close()
    overwritten = scaled_store.overwrites(layout, work, 7048)
    assert overwritten.figures["bytes"] > 2048 * 2048
    assert overwritten.figures["commits"] >= 1
    assert overwritten.figures["stale"] == 2048
    assert scaled_store.start(layout, work).figures["rows"] == 7048
    table = delta.open_table(layout.store.features)
    assert table is not None
    versions = table.dataset().to_table(columns=["version"])["version"].to_pylist()
    assert versions.count(OVERWRITTEN) == 2048


def test_the_table_compares_the_last_two_sizes() -> None:
    def level(seconds: float) -> scale.Level:
        return {"start": Step(seconds, 200_000_000, {"index_bytes": 1e6})}

    lines = scale.table({10_000: level(0.5), 1_000_000: level(6.0)})
    assert lines[0] == "| photos | 10,000 | 1,000,000 | 1m over 10k |"
    assert "| start without an index, s | 0.50 | 6.00 | 12.00 |" in lines
    assert "| `reconcile`, s |  |  |  |" in lines


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"GB free, and 46,000,000\.3 GB are needed"):
        scale._check_room(tmp_path, 10**13, 0)
