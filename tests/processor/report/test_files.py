"""The files: the map before the page, each whole, whatever happens in between."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processor.report import files, parts
from processor.report.draw import Drawn
from processor.report.files import Targets
from processor.report.points import NEIGHBOURS, Points
from processor.report.summary import Summary
from tests.support import drawn_reports
from tests.support.reports import page

SUMMARY = drawn_reports.summary()

KEYS = ["photos/<script>.jpg", "photos/a.jpg", "photos/b.jpg"]


def drawn(folder: Path) -> Drawn:
    lists = np.full(3 * NEIGHBOURS, -1, np.int32)
    table = pa.table(
        {
            "key": KEYS,
            "label": ["<b>", None, "L"],
            "pc1": pa.array([1, 2, 3], pa.float32()),
            "pc2": pa.array([4, 5, 6], pa.float32()),
            "version": ["1", "2", "3"],
            "neighbours": pa.FixedSizeListArray.from_arrays(lists, NEIGHBOURS),
            "cosines": pa.FixedSizeListArray.from_arrays(lists.astype(np.float32), NEIGHBOURS),
            "thumbnail": [b"known", None, None],
        }
    )
    return Drawn(parts.write(str(folder), table), [], 30, [("L", 20), ("", 10)], 1)


def targets(folder: Path) -> Targets:
    return Targets(str(folder / "page.html"), str(folder / "map.parquet"))


def test_both_have_the_same_points(tmp_path: Path) -> None:
    made = parts.write(str(tmp_path), pa.table({"key": KEYS[1:2], "thumbnail": [b"new"]}))
    seen: list[Points] = []

    def noted(summary: Summary, points: Points) -> str:
        seen.append(points)
        return page(summary, points)

    where = targets(tmp_path)
    size = files.write(
        *(drawn(tmp_path), [made], str(tmp_path), SUMMARY, noted, where, {"model": "m"})
    )
    text = Path(where.page).read_text(encoding="utf-8")
    assert text == f"{SUMMARY.photos} photos, 3 points, 2 pictures"
    assert size == Path(where.page).stat().st_size + Path(where.map).stat().st_size
    (points,) = seen
    assert (points.keys, points.labels, points.population) == (KEYS, ["<b>", "", "L"], 30)
    assert points.thumbnails == [b"known", b"new", b""]
    np.testing.assert_array_equal(points.xy, np.array([[1, 4], [2, 5], [3, 6]], np.float32))
    table = pq.read_table(where.map)
    assert table["key"].to_pylist() == KEYS
    assert table.schema.metadata[b"model"] == b"m"


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    where = targets(tmp_path)
    Path(where.page).write_text("old", encoding="utf-8")

    def failing(_summary: Summary, _points: Points) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        files.write(drawn(tmp_path), [], str(tmp_path), SUMMARY, failing, where, {})
    assert Path(where.page).read_text(encoding="utf-8") == "old"
    assert pq.read_table(where.map).num_rows == 3
