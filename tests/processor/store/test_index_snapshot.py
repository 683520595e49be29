"""Index snapshots: a new machine starts from one, and no fault of it does more than cost time."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import deltalake
import pytest
from pyarrow.dataset import dataset

from processor.store import index_snapshot, keyed, objects
from processor.store.index_snapshot import NAME, IndexSnapshot
from processor.store.keyed import KeyedTable
from tests.support.endpoints import Request
from tests.support.forwarded import Refusal, s3_refuses
from tests.support.keyed_tables import content, opened, readings, write

DAY = 86_400


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table counts as large."""
    monkeypatch.setattr(keyed, "LEAST_ROWS", 1)


def commit(table: KeyedTable, versions: dict[str, str]) -> None:
    table.commit([write(table.folder, versions)], [*table.find(versions)], {})


def snapshotted(folder: str, index: Path) -> None:
    """A table of two files, whose service made a snapshot and is gone with its machine."""
    table = opened(folder, index)
    commit(table, {"a": "1", "b": "1"})
    uploaded(table)
    commit(table, {"c": "1"})
    table.close()
    assert not list(index.parent.glob("*.copy"))
    shutil.rmtree(index.parent)


def copied(path: Path) -> None:
    path.write_bytes(b"index")


def uploaded(table: KeyedTable) -> None:
    uploading = table._snapshot._uploading
    assert uploading
    uploading.join()


def assert_right(table: KeyedTable) -> None:
    everything = content(table.folder)
    found = table.find([*everything, "none"])
    assert {key: each.object_version for key, each in found.items()} == everything
    assert len(table) == len(everything)


def test_a_new_machine_reads_only_what_is_newer(place: str, tmp_path: Path) -> None:
    snapshotted(place, tmp_path / "work" / "index")
    other = opened(place, tmp_path / "other" / "index")
    commit(other, {"a": "2", "d": "1"})  # rewrites a file that the snapshot has
    shutil.rmtree(tmp_path / "other")
    with readings() as read:
        again = opened(place, tmp_path / "work" / "index")
    assert len(read) == 3
    assert_right(again)
    commit(again, {"b": "2", "e": "1"})
    assert_right(again)
    again.close()


def test_a_service_that_was_killed_goes_on_from_it(folder: str, tmp_path: Path) -> None:
    snapshotted(folder, tmp_path / "work" / "index")
    index = tmp_path / "work" / "index"
    opened(folder, index)  # and not closed
    (copy := tmp_path / "work" / "index.copy").write_bytes(b"half a copy")
    with readings() as read:
        again = opened(folder, index)
    assert len(read) == 1
    assert not copy.exists()
    assert_right(again)
    again.close()


def test_runs_that_another_start_needs_no_more_are_deleted(folder: str, tmp_path: Path) -> None:
    """Its machine was killed while it made the index; then a snapshot came."""
    opened(folder, tmp_path / "index").close()
    (runs := tmp_path / "runs.index").mkdir()
    (runs / "of a killed process").write_bytes(b"run")
    table = opened(folder, tmp_path / "index")
    assert not runs.exists()
    table.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:30],
        lambda data: data[:-1],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"0" * 64 + data[64:],
        lambda data: b"\xff" + data[1:],
        lambda data: data + data,
    ],
)
def test_a_damaged_one_is_not_believed(
    folder: str, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    index = tmp_path / "work" / "index"
    snapshotted(folder, index)
    snapshot = Path(folder, NAME)
    snapshot.write_bytes(damage(snapshot.read_bytes()))
    with readings() as read:
        again = opened(folder, index)
    assert len(read) == 2
    assert_right(again)
    again.close()


def test_that_of_another_table_is_not_believed(folder: str, tmp_path: Path) -> None:
    index = tmp_path / "work" / "index"
    snapshotted(folder, index)
    snapshot = Path(folder, NAME).read_bytes()
    shutil.rmtree(folder)
    opened(folder, tmp_path / "other" / "index").close()
    objects.put(f"{folder}/{NAME}", snapshot)
    again = opened(folder, index)
    assert again.find("abc") == {}
    again.close()


def test_it_is_renewed_once_a_day(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_snapshot, "CHECK_SECONDS", 0.0)
    table = opened(folder, tmp_path / "index")
    commit(table, {"a": "1"})
    uploaded(table)
    snapshot = Path(folder, NAME)
    first = snapshot.read_bytes()
    commit(table, {"b": "1"})
    assert snapshot.read_bytes() == first
    os.utime(snapshot, (time.time() - DAY - 1,) * 2)
    commit(table, {"c": "1"})
    uploaded(table)
    assert snapshot.read_bytes() != first
    table.close()


def test_no_reader_and_no_vacuum_takes_it_for_a_part_of_the_table(
    folder: str, tmp_path: Path
) -> None:
    snapshotted(folder, tmp_path / "work" / "index")
    assert Path(folder, "_index/rows.sqlite").exists()
    table = deltalake.DeltaTable(folder)
    doomed = table.vacuum(0, enforce_retention_duration=False, dry_run=False, full=True)
    assert doomed == []
    assert Path(folder, "_index/rows.sqlite").exists()
    assert len(dataset(folder, format="parquet").to_table()) == 3  # the folder, as of plain Parquet


def test_small_tables_have_none(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed, "LEAST_ROWS", 2)
    table = opened(folder, tmp_path / "index")
    commit(table, {"a": "1"})
    table.close()
    assert not Path(folder, NAME).exists()


def test_where_s3_refuses_it_there_is_none(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = IndexSnapshot(uri)
    objects.put(f"{uri}/{NAME}", b"snapshot")
    index, digest, copy = (tmp_path / name for name in ("index", "digest", "copy"))

    def refuse(request: Request) -> Refusal | None:
        return None if request.method == "HEAD" else (403, "AccessDenied")

    with s3_refuses(refuse), pytest.MonkeyPatch.context() as patched:
        snapshot.fetch(index, digest)
        patched.setattr(index_snapshot, "RENEWED_SECONDS", -1.0)
        snapshot.renew(copied, copy)
        assert snapshot._uploading
        snapshot._uploading.join()
    told = [each.getMessage() for each in caplog.records]
    assert [each.partition(": ")[0] for each in told] == [
        f"the snapshot {uri}/{NAME} cannot be read",
        f"the snapshot {uri}/{NAME} could not be written",
    ]
    assert not copy.exists()


def test_without_room_for_a_copy_there_is_none(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(folder, tmp_path / "index")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 14))
    commit(table, {"a": "1"})
    assert not Path(folder, NAME).exists()
    assert not (tmp_path / "index.copy").exists()
    assert_right(table)
    table.close()


def test_a_service_that_stops_abandons_its_upload(tmp_path: Path) -> None:
    snapshot = IndexSnapshot(str(tmp_path / "table"))
    snapshot.stop()
    snapshot.renew(copied, tmp_path / "copy")
    snapshot.stop()
    assert not (tmp_path / "table" / NAME).exists()
    assert not (tmp_path / "copy").exists()
