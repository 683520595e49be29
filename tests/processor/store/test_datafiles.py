"""Data files: written whole, and read as they were written, by columns and in batches."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.store import datafiles, objects
from processor.store.schema import FEATURES
from tests.support.feature_files import features_table

SCHEMA = pa.schema(
    [pa.field("key", pa.string(), nullable=False), pa.field("n", pa.int32(), nullable=False)]
)


def table(*keys: str) -> pa.Table:
    return pa.table({"key": list(keys), "n": list(range(len(keys)))}, schema=SCHEMA)


def test_a_file_is_written_under_a_new_name(place: str) -> None:
    first, second = datafiles.write(place, table("b", "a")), datafiles.write(place, table("c"))
    assert first.path != second.path
    for file in (first, second):
        body = objects.get(f"{place}/{file.path}")
        assert body
        assert len(body) == file.size
    assert (first.rows, first.first_key, first.last_key) == (2, "a", "b")
    assert datafiles.read(place, first.path).equals(table("b", "a"))


def test_a_path_can_be_given(place: str) -> None:
    file = datafiles.write(place, table("a"), path="MODEL/part-1.parquet")
    assert file.path == "MODEL/part-1.parquet"
    assert datafiles.read(place, file.path).equals(table("a"))


def test_a_missing_file(place: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        datafiles.read(place, "none.parquet")
    with pytest.raises(FileNotFoundError):
        next(datafiles.batches(place, "none.parquet", ["key"], 10))


def test_columns_and_batches(place: str) -> None:
    names = [f"{n:03}" for n in range(10)]
    path = datafiles.write(place, table(*names)).path
    assert datafiles.read(place, path, ["n"]).to_pydict() == {"n": list(range(10))}
    batches = list(datafiles.batches(place, path, ["key"], 4))
    assert [len(each) for each in batches] == [4, 4, 2]
    assert all(each.schema.names == ["key"] for each in batches)
    assert pa.Table.from_batches(batches)["key"].to_pylist() == names


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers(-9, 9), min_size=1),
    st.randoms(use_true_random=False),
)
def test_any_rows_are_restored_and_their_keys_bounded(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, int], random
) -> None:
    folder = str(tmp_path_factory.mktemp("any"))
    wanted = pa.table({"key": list(rows), "n": list(rows.values())}, schema=SCHEMA)
    file = datafiles.write(folder, wanted)
    found = datafiles.read(folder, file.path)
    assert found.equals(wanted)
    assert found.schema == SCHEMA
    assert (file.first_key, file.last_key) == (min(rows), max(rows))
    dropped = frozenset(random.sample(list(rows), random.randint(0, len(rows))))
    rest = datafiles.without(folder, file.path, dropped | {"nobody's"} - rows.keys())
    left = {key: n for key, n in rows.items() if key not in dropped}
    if not left:
        assert rest is None
        return
    assert rest
    columns = datafiles.read(folder, rest.path)
    assert columns.schema == SCHEMA
    assert dict(zip(columns["key"].to_pylist(), columns["n"].to_pylist(), strict=True)) == left
    assert (rest.rows, rest.first_key, rest.last_key) == (len(left), min(left), max(left))
    assert datafiles.read(folder, file.path).equals(wanted)  # a copy was written


def test_several_files_are_merged_in_the_order_of_keys(place: str) -> None:
    paths = [datafiles.write(place, table(*keys)).path for keys in ("bd", "c", "ea")]
    (merged,) = datafiles.merge(place, paths, SCHEMA)
    assert merged.path not in paths
    assert (merged.rows, merged.first_key, merged.last_key) == (5, "a", "e")
    assert datafiles.read(place, merged.path).to_pydict() == {
        "key": [*"abcde"],
        "n": [1, 0, 0, 1, 0],
    }


def test_merged_files_are_bounded_and_end_before_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = str(tmp_path), table(*(f"{n:03}" for n in range(100)))
    path, row_bytes = datafiles.write(folder, rows).path, rows.nbytes / 100
    monkeypatch.setattr(datafiles, "TARGET_BYTES", 20 * row_bytes)
    monkeypatch.setattr(datafiles, "LEAST_BYTES", 5 * row_bytes)
    cuts = ["000", "002", "007", "008", "033", "099x", "2"]
    files = datafiles.merge(folder, [path], SCHEMA, cuts)
    bounds = [(each.first_key, each.last_key) for each in files]
    assert bounds[:3] == [("000", "006"), ("007", "019"), ("020", "032")]
    assert bounds[3][0] == "033"
    assert bounds[-1][1] == "099"
    assert max(each.rows for each in files) <= 20
    found = [datafiles.read(folder, each.path) for each in files]
    assert pa.concat_tables(found).equals(rows)


def test_a_reader_of_one_key_may_skip_row_groups(tmp_path: Path) -> None:
    rows = table(*(f"{n:05}" for n in range(2 * datafiles.GROUP_ROWS + 1)))
    path = datafiles.write(str(tmp_path), rows).path
    groups = pq.ParquetFile(tmp_path / path).metadata
    assert groups.num_row_groups == 3
    bounds = [groups.row_group(n).column(0).statistics for n in range(3)]
    assert [each.min for each in bounds] == ["00000", "04096", "08192"]


def test_features_keep_their_schema_and_are_cheap_to_read(tmp_path: Path) -> None:
    """No dictionary, no compression, statistics of the key only."""
    folder = str(tmp_path)
    wanted = features_table(np.ones((5, 8), np.float32))
    file = datafiles.write(folder, wanted)
    assert datafiles.read(folder, file.path).equals(wanted)
    assert datafiles.read(folder, file.path).schema == FEATURES
    group = pq.ParquetFile(tmp_path / file.path).metadata.row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    assert {each.compression for each in columns} == {"UNCOMPRESSED"}
    assert not any(each.has_dictionary_page for each in columns)
    assert {each.path_in_schema for each in columns if each.is_stats_set} == {"key"}


def test_string_views_of_other_writers_are_read_as_strings(tmp_path: Path) -> None:
    views = pa.table({"key": pa.array(["a", "b"], pa.string_view()), "n": [1, 2]})
    pq.write_table(views, tmp_path / "views.parquet")
    assert pq.read_table(tmp_path / "views.parquet").schema.field("key").type == pa.string_view()
    found = datafiles.read(str(tmp_path), "views.parquet")
    assert found.schema.field("key").type == pa.string()
    rest = datafiles.without(str(tmp_path), "views.parquet", frozenset("a"))
    assert rest
    assert datafiles.read(str(tmp_path), rest.path)["key"].to_pylist() == ["b"]
