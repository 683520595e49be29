"""Sorted rows: all of a table, once each, in the order of their keys, however its files were written."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.store import datafiles, delta, sorted_rows
from tests.support.keyed_tables import SCHEMA, table_of

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
files = st.lists(st.dictionaries(keys, st.text("ab"), min_size=1, max_size=6), max_size=7)


@settings(max_examples=60, deadline=None)
@given(files, st.integers(1, 8), st.text("aé🍎", max_size=1), keys | st.just(""))
def test_all_rows_come_in_the_order_of_their_keys(
    content: list[dict[str, str]], run_rows: int, prefix: str, after: str
) -> None:
    """Also with runs of a few rows, which are merged."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorted_rows, "RUN_ROWS", run_rows)
        patched.setattr(sorted_rows, "BATCH_ROWS", 2)
        patched.setattr(sorted_rows, "READERS", 2)
        table = table_of(f"{folder}/table", content)
        stored = table.dataset().to_table().to_pylist()
        wanted = [
            (row["key"], row["version"])
            for row in stored
            if row["key"].startswith(prefix) and row["key"] > after
        ]
        found = sorted_rows.sorted_rows(
            table, ["version"], Path(folder), prefix=prefix, after=after
        )
        assert list(found) == sorted(wanted, key=lambda row: row[0].encode())


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    """Not even by a reader that stops halfway, or is killed: its files have no names."""
    table = delta.create_table(str(tmp_path / "table"), SCHEMA)
    rows = pa.table({"key": ["a", "b"], "version": ["1", "2"]}, schema=SCHEMA)
    table.commit(SCHEMA, [datafiles.write(table.folder, rows)], [])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    reading = sorted_rows.sorted_rows(table, ["version"], scratch)
    assert next(reading) == ("a", "1")
    assert list(scratch.iterdir()) == []
    reading.close()


def test_a_file_that_a_vacuum_has_deleted_is_an_error(tmp_path: Path) -> None:
    """Its rows would look as if they did not exist."""
    table = delta.create_table(str(tmp_path / "table"), SCHEMA)
    rows = pa.table({"key": ["a"], "version": ["1"]}, schema=SCHEMA)
    file = datafiles.write(table.folder, rows)
    table.commit(SCHEMA, [file], [])
    (tmp_path / "table" / file.path).unlink()
    with pytest.raises(FileNotFoundError):
        list(sorted_rows.sorted_rows(table, ["version"], tmp_path))
