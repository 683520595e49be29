"""Delta tables: the properties of a version, commits, and what the log says of changes since."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from processor.errors import CommitConflict, StoreError
from processor.store import datafiles, delta, objects
from processor.store.datafiles import DataFile
from processor.store.delta import Table
from processor.store.objects import ListedObject

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])

KEYS = pa.table({"key": ["k"]}, schema=SCHEMA)


def write(folder: str, *keys: str) -> DataFile:
    return datafiles.write(folder, pa.table({"key": list(keys)}, schema=SCHEMA))


def test_a_missing_table_is_none(folder: str) -> None:
    assert delta.open_table(folder) is None


def test_the_properties_of_a_table(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "a network")
    one, two = write(folder, "a", "b"), write(folder, "c")
    table.commit(SCHEMA, [one, two], [], transactions={"app": 7}, metadata={"batch": 3})
    opened = delta.open_table(folder)
    assert opened
    assert (opened.table_version, opened.rows, opened.network) == (1, 3, "a network")
    assert opened.id == table.id
    assert opened.paths() == {one.path, two.path}
    assert opened.sizes() == {one.path: one.size, two.path: two.size}
    assert opened.row_counts() == {one.path: 2, two.path: 1}
    assert opened.columns == SCHEMA
    assert opened.transaction_version("app") == 7
    assert opened.transaction_version("another") is None
    assert next(opened.history(1))["batch"] == 3
    assert len(list(opened.history(9))) == 2
    assert sorted(opened.dataset().to_table()["key"].to_pylist()) == ["a", "b", "c"]


def test_a_column_without_statistics_can_be_filtered(folder: str) -> None:
    """By any reader that uses delta-rs' datasets, for instance for the photos of a label."""
    schema = pa.schema([*SCHEMA, pa.field("label", pa.string())])
    table = delta.create_table(folder, schema, "")
    rows = pa.table({"key": ["a", "b", "c"], "label": ["Apple", None, "Pear"]}, schema=schema)
    table.commit(schema, [datafiles.write(folder, rows)], [])
    apples = table.dataset().to_table(filter=pc.field("label") == "Apple")
    assert apples["key"].to_pylist() == ["a"]


def test_an_old_version_can_be_read(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "")
    table.commit(SCHEMA, [write(folder, "a")], [])
    table.commit(SCHEMA, [write(folder, "b")], table.paths())
    old, new = delta.open_table(folder, 1), delta.open_table(folder)
    assert old
    assert new
    assert old.dataset().to_table()["key"].to_pylist() == ["a"]
    assert new.dataset().to_table()["key"].to_pylist() == ["b"]


def test_creating_an_existing_table_opens_it(folder: str) -> None:
    first = delta.create_table(folder, SCHEMA, "first")
    second = delta.create_table(folder, SCHEMA, "second")
    assert (second.id, second.network) == (first.id, "first")


def test_an_overwrite_removes_what_it_does_not_add(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "")
    table.commit(SCHEMA, [write(folder, "a")], [])
    table.commit(SCHEMA, [new := write(folder, "b")], [], overwrite=True)
    assert table.paths() == {new.path}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_commit_on_an_old_version_changes_nothing(folder: str, overwrite: bool) -> None:
    late = delta.create_table(folder, SCHEMA, "")
    early = delta.open_table(folder)
    assert early
    early.commit(SCHEMA, [first := write(folder, "a")], [])
    with pytest.raises(CommitConflict):
        late.commit(SCHEMA, [write(folder, "b")], [], overwrite=overwrite)
    late.refresh()
    assert late.paths() == {first.path}


def test_only_added_and_removed_rows_are_changes(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "")
    table.commit(SCHEMA, [file := write(folder, "a", "b")], [])
    assert table.rows_changed_since(0)
    table.commit(SCHEMA, [], [], metadata={"photos": 0})
    assert not table.rows_changed_since(1)
    (merged,) = datafiles.merge(folder, [file.path], SCHEMA)
    table.commit(SCHEMA, [merged], [file.path], data_change=False)
    assert not table.rows_changed_since(1)
    table.commit(SCHEMA, [], [merged.path])
    assert table.rows_changed_since(1)
    assert not table.rows_changed_since(4)
    assert table.rows_changed_since(5)  # that must have been another table
    old = delta.open_table(folder, 3)
    assert old
    Path(folder, "_delta_log", f"{2:020}.json").unlink()
    assert old.rows_changed_since(1)


def test_vacuum_deletes_what_this_version_does_not_need(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "")
    table.commit(SCHEMA, [old := write(folder, "a")], [])
    orphan = write(folder, "never committed")
    table.commit(SCHEMA, [new := write(folder, "b")], [old.path])
    assert table.vacuum(24) == 0
    assert table.vacuum(0) == 2
    left = {path.name for path in Path(folder).glob("*.parquet")}
    assert left == {new.path}
    assert orphan.path not in left


DAY = 86_400


def aged(paths: Iterable[Path], days: int) -> None:
    """Make files look as if they had been written so long ago."""
    then = time.time() - days * DAY
    for path in paths:
        os.utime(path, (then, then))


def versions(folder: str, kind: str) -> list[int]:
    """The versions of which the log has an entry (json) or a checkpoint (checkpoint.parquet)."""
    return sorted(int(path.name[:20]) for path in Path(folder, "_delta_log").glob(f"0*.{kind}"))


def commit_up_to(table: Table, table_version: int, *removed: str) -> None:
    """Commits of one row each, of which the first removes files as well."""
    while table.table_version < table_version:
        table.commit(SCHEMA, [write(table.folder, f"{table.table_version:03}")], removed)
        removed = ()


def test_vacuum_deletes_log_entries_and_checkpoints_that_no_kept_version_needs(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "")
    commit_up_to(table, 69)
    assert table.vacuum(24) == 0
    assert versions(folder, "json") == list(range(71))  # young; the retention is set by a commit
    checkpoints = versions(folder, "checkpoint.parquet")
    assert len(checkpoints) == 3
    log = Path(folder, "_delta_log")
    aged((path for path in log.glob("0*") if int(path.name[:20]) < 50), days=2)
    table.vacuum(24)
    first = max(version for version in checkpoints if version <= 50)
    assert versions(folder, "json") == list(range(first, 71))
    assert versions(folder, "checkpoint.parquet") == [each for each in checkpoints if each >= first]
    for version in range(50, 71):
        opened = delta.open_table(folder, version)
        assert opened
        assert opened.rows == min(version, 69)
    assert delta.open_table(folder, first - 1) is None
    aged(log.glob("0*"), days=2)
    table.vacuum(24)
    opened = delta.open_table(folder)
    assert opened
    assert opened.rows == 69  # however old all of it is


def test_the_retention_is_a_property_of_the_table(folder: str) -> None:
    table = delta.create_table(folder, SCHEMA, "a network")
    for hours, version in ((168, 0), (48, 1), (48, 1), (24, 2)):
        table.vacuum(hours)
        assert table.table_version == version
        properties = table._table.metadata().configuration
        assert {properties[name] for name in delta.KEPT} == {f"interval {hours} hours"}
    assert table.network == "a network"
    assert not table.rows_changed_since(0)
    late, early = delta.open_table(folder), delta.open_table(folder)
    assert late
    assert early
    early.vacuum(48)
    late.vacuum(72)  # the next one sets it
    assert late.table_version == 3


def test_a_checkpoint_remembers_removed_files_for_as_long_as_they_are_kept(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a file goes by the time of its removal, not by its age."""
    table = delta.create_table(folder, SCHEMA, "")
    table.commit(SCHEMA, [old := write(folder, "a")], [])
    aged(Path(folder).glob("*.parquet"), days=40)
    table.vacuum(720)
    now = time.time()
    monkeypatch.setattr(delta, "time", SimpleNamespace(time=lambda: now - 10 * DAY))
    commit_up_to(table, 25, old.path)
    monkeypatch.undo()
    assert removed_in_checkpoint(folder) == [old.path]
    assert table.vacuum(720) == 0
    assert table.vacuum(24) == 1
    assert removed_in_checkpoint(folder) == [old.path]
    commit_up_to(table, 45)
    assert removed_in_checkpoint(folder) == []


def removed_in_checkpoint(folder: str) -> list[str]:
    newest = max(Path(folder, "_delta_log").glob("*.checkpoint.parquet"))
    return [each["path"] for each in pq.read_table(newest)["remove"].drop_null().to_pylist()]


SNAPSHOT = "_index/rows.sqlite"
STRANGERS = ["mine.parquet", "raw/mine.csv", "part-1.parquet", "notes/part-of-it.txt"]


def test_vacuum_leaves_what_is_not_the_tables(place: str) -> None:
    table = delta.create_table(place, SCHEMA, "")
    table.commit(SCHEMA, [live := write(place, "a")], [])
    orphans = [write(place, "b"), datafiles.write(place, KEYS, path=f"m/{live.path}")]
    for path in (*STRANGERS, SNAPSHOT):
        objects.put(f"{place}/{path}", b"somebody's own")
    assert table.vacuum(0) == len(orphans)
    assert objects.exists(f"{place}/{live.path}")
    assert not any(objects.exists(f"{place}/{each.path}") for each in orphans)
    assert all(objects.exists(f"{place}/{path}") for path in (*STRANGERS, SNAPSHOT))


def test_vacuum_deletes_files_of_other_writers_that_the_table_has_had(place: str) -> None:
    table = delta.create_table(place, SCHEMA, "")
    file = datafiles.write(place, KEYS, path="part-00000-c000.snappy.parquet")
    table.commit(SCHEMA, [file], [])
    table.commit(SCHEMA, [], [file.path])
    assert table.vacuum(0) == 1
    assert not objects.exists(f"{place}/{file.path}")


def test_no_table_is_made_among_strangers(bucket: str) -> None:
    folder = f"s3://{bucket}/features"
    write(folder, "left by a table whose log was deleted")
    objects.put(f"{folder}/{SNAPSHOT}", b"likewise")
    delta.create_table(folder, SCHEMA, "")
    for number, path in enumerate(STRANGERS):
        other = f"s3://{bucket}/{number}"
        objects.put(f"{other}/{path}", b"somebody's own")
        with pytest.raises(StoreError, match=rf"{path}.*storage\.store_prefix"):
            delta.create_table(other, SCHEMA, "")
        assert delta.open_table(other) is None
    objects.put(f"{folder}/0.txt", b"added later")
    assert delta.create_table(folder, SCHEMA, "").table_version == 0


def test_a_table_made_meanwhile_is_not_a_stranger(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another service makes it between two listings of ours."""
    folder = f"s3://{bucket}/features"
    listing = objects.listing

    def meanwhile(listed: str) -> Iterator[ListedObject]:
        found = list(listing(listed))
        monkeypatch.setattr(objects, "listing", listing)
        delta.create_table(folder, SCHEMA, "")
        return iter(found)

    monkeypatch.setattr(objects, "listing", meanwhile)
    assert delta.create_table(folder, SCHEMA, "").table_version == 0


def test_a_table_that_eight_processes_make_at_once(tmp_path: Path) -> None:
    """Many services that start on a new store. Without care some of them get a conflict."""
    for number in range(5):
        folder, together = str(tmp_path / str(number)), threading.Barrier(8)

        def make(_: int, folder: str = folder, together: threading.Barrier = together) -> str:
            together.wait()
            return delta.create_table(folder, SCHEMA, "network").id

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(make, range(8)))) == 1
