"""The map's file: what everybody's tools read of it."""

import base64
import importlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processor.report import map_file
from processor.report.points import NEIGHBOURS, Points

KEYS = ["photos/<script>alert(1)</script>.jpg", "photos/=1+2", "photos/\u202eü\n🍎.jpg"]
ABOUT = {"model": "m", "features-version": "7"}


def points(population: int = 3) -> Points:
    """Three points; the last has one neighbour only."""
    neighbours = np.full((3, NEIGHBOURS), -1, np.int32)
    cosines = np.full((3, NEIGHBOURS), np.nan, np.float32)
    neighbours[:2, :2] = [[1, 2], [0, 2]]
    cosines[:2, :2] = [[0.75, 0.5], [0.75, 0.25]]
    neighbours[2, 0], cosines[2, 0] = 0, 0.5
    xy = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    labels = ["</script>", "", "=x"]
    return Points(KEYS, labels, xy, neighbours, cosines, [b"webp", b"", b"\xff"], population)


def encoded(population: int = 3) -> bytes:
    return map_file.encoded(points(population), ["1", "2", "3"], ABOUT)


def test_rows() -> None:
    table = pq.read_table(pa.BufferReader(encoded()))
    first, second, third = table.to_pylist()
    assert first == {
        "key": KEYS[0],
        "version": "1",
        "label": "</script>",
        "pc1": 1.0,
        "pc2": 2.0,
        "neighbours": {"ids": [1, 2], "distances": [0.25, 0.5]},
        "thumbnail": "data:image/webp;base64," + base64.b64encode(b"webp").decode(),
    }
    assert (second["label"], second["thumbnail"]) == (None, None)
    assert third["neighbours"] == {"ids": [0], "distances": [0.5]}


def test_it_says_what_it_is_a_sample_of() -> None:
    def about(population: int) -> dict[bytes, bytes]:
        return dict(pq.read_schema(pa.BufferReader(encoded(population))).metadata)

    assert about(3) == {
        b"model": b"m",
        b"features-version": b"7",
        b"population": b"3",
        b"sample": b"all photos",
    }
    assert about(900)[b"sample"].startswith(b"the 3 of 900 photos whose keys")


def test_thumbnails_are_read_back() -> None:
    assert map_file.thumbnails(encoded()) == {
        (KEYS[0], "1"): b"webp",
        (KEYS[2], "3"): b"\xff",
    }


def others() -> list[bytes]:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"key": ["a"]}), sink)
    whole = encoded()
    damaged = whole[:4] + b"\xff" * 200 + whole[204:]
    return [b"", b"no parquet", whole[:-9], damaged, bytes(sink.getvalue())]


@pytest.mark.parametrize("file", others(), ids=range(5))
def test_what_is_not_a_map(file: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        map_file.thumbnails(file)


@pytest.fixture
def saved(tmp_path: Path) -> str:
    file = tmp_path / "map.parquet"
    file.write_bytes(encoded())
    return str(file)


def test_duckdb_opens_it(saved: str) -> None:
    duckdb = importlib.import_module("duckdb")
    found = duckdb.sql(
        "select key, neighbours.ids[1], neighbours.distances[1], thumbnail like 'data:image/webp;%' "
        f"from '{saved}' order by pc1"
    ).fetchall()
    assert found == [(KEYS[0], 1, 0.25, True), (KEYS[1], 0, 0.25, None), (KEYS[2], 0, 0.5, True)]


def test_polars_opens_it(saved: str) -> None:
    polars = importlib.import_module("polars")
    table = polars.read_parquet(saved)
    assert table["key"].to_list() == KEYS
    assert table["neighbours"].struct.field("ids").to_list() == [[1, 2], [0, 2], [0]]
    assert table["thumbnail"].null_count() == 1
