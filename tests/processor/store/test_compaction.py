"""Compaction: which files are merged, and that a table keeps its rows."""

from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from processor.store import datafiles, delta
from processor.store.compaction import MERGED_AT_ONCE, TARGET_BYTES, compact, groups_of
from tests.support.in_process import InThisProcess

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 2 * TARGET_BYTES), max_size=60))
def test_groups_are_full_of_similar_sizes_and_not_too_large(sizes: dict[str, int]) -> None:
    groups = groups_of(sizes)
    grouped = [path for group in groups for path in group]
    assert len(set(grouped)) == len(grouped)
    for group in groups:
        of = [max(1, sizes[path]) for path in group]
        assert len(group) == MERGED_AT_ONCE
        assert max(of) <= min(of) * MERGED_AT_ONCE
        assert sum(of) <= TARGET_BYTES


def test_no_table_is_nothing_to_do(tmp_path: Path) -> None:
    assert compact(str(tmp_path / "none"), SCHEMA, InThisProcess()) == {}


def test_rows_are_kept_and_old_names_are_mapped_to_new_ones(tmp_path: Path) -> None:
    folder = str(tmp_path / "table")
    table = delta.create_table(folder, SCHEMA, "")
    files = [
        datafiles.write(folder, pa.table({"key": [str(n)]}, schema=SCHEMA))
        for n in range(MERGED_AT_ONCE + 1)
    ]
    table.commit(SCHEMA, files, [])
    renamed = compact(folder, SCHEMA, InThisProcess())
    assert len(renamed) == MERGED_AT_ONCE
    assert len(set(renamed.values())) == 1
    table.refresh()
    assert table.paths() == {*(each.path for each in files)} - renamed.keys() | {*renamed.values()}
    keys = table.dataset().to_table()["key"].to_pylist()
    assert sorted(keys, key=int) == [str(n) for n in range(MERGED_AT_ONCE + 1)]
    assert not table.rows_changed_since(1)
    assert compact(folder, SCHEMA, InThisProcess()) == {}
