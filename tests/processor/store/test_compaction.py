"""Compaction: a table keeps its rows, now in the order of their keys, whoever writes in between."""

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from processor.store import compaction, datafiles, delta
from processor.store.compaction import compact
from processor.store.delta import Table
from tests.support.in_process import InThisProcess
from tests.support.killed_compaction import SCHEMA

ROOT = Path(__file__).resolve().parents[3]
LONG = "ü🍎" * 170  # S3's keys have at most 1,024 bytes


def test_no_table_is_nothing_to_do(tmp_path: Path) -> None:
    assert compact(str(tmp_path / "none"), SCHEMA, InThisProcess()) == []


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """With ten files, in each of which there may be any key."""
    folder = str(tmp_path / "table")
    created = delta.create_table(folder, SCHEMA, "")
    for n in range(10):
        add(created, f"{n}{LONG}", f"{20 - n}{LONG}")
    return created


def add(table: Table, *keys: str) -> None:
    file = datafiles.write(table.folder, pa.table({"key": list(keys)}, schema=SCHEMA))
    table.commit(SCHEMA, [file], [])


def test_rows_are_kept_in_the_order_of_their_keys(table: Table) -> None:
    before, rows = table.paths(), table.dataset().to_table()["key"].to_pylist()
    (swap,) = compact(table.folder, SCHEMA, InThisProcess())
    removed, added = swap.paths()
    assert removed == before
    table.refresh()
    assert table.paths() == added
    assert table.dataset().to_table()["key"].to_pylist() == sorted(rows)
    assert not table.rows_changed_since(10)
    assert compact(table.folder, SCHEMA, InThisProcess()) == []


def test_readers_skip_files_by_the_statistics_in_the_log(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of keys that differ only beyond what other tools keep of them, and after a checkpoint."""
    monkeypatch.setattr(datafiles, "TARGET_BYTES", 1 << 12)
    monkeypatch.setattr(datafiles, "LEAST_BYTES", 1 << 10)
    for n in range(10, delta.CHECKPOINT_COMMITS):
        add(table, f"1{LONG}{n}")
    compact(table.folder, SCHEMA, InThisProcess())
    table.refresh()
    dataset = table.dataset()
    rows = dataset.to_table()["key"].to_pylist()
    assert len(table.paths()) > 5
    for key in rows:
        assert len(list(dataset.get_fragments(pc.field("key") == key))) == 1
        found = table.rows_where(pc.field("key") == key, ["key"])
        assert found["key"].to_pylist() == [key]
    files = {each.path: each for each in table.files()}
    assert files.keys() == table.paths()
    for path, each in files.items():
        keys = datafiles.read(table.folder, path)["key"].to_pylist()
        assert (each.rows, each.first_key, each.last_key) == (len(keys), min(keys), max(keys))


def test_a_file_replaced_in_between_keeps_its_row(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = compaction._commit

    def late(*arguments):
        table.commit(SCHEMA, [], [min(table.paths())])
        return commit(*arguments)

    monkeypatch.setattr(compaction, "_commit", late)
    assert compact(table.folder, SCHEMA, InThisProcess()) == []
    assert table.rows == 18


KILLED = [
    ("processor.store.datafiles:write", "1", "before"),
    ("processor.store.datafiles:write", "1", "after"),
    ("processor.store.delta:Table.commit", "1", "before"),
    ("processor.store.delta:Table.commit", "1", "after"),
]


@pytest.mark.parametrize("killed", KILLED)
def test_a_killed_compaction_leaves_the_table_whole(table: Table, killed: tuple[str, ...]) -> None:
    before = sorted(table.dataset().to_table()["key"].to_pylist())
    program = [sys.executable, "-m", "tests.support.killed_compaction", table.folder, *killed]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for _ in range(2):
        table.refresh()
        assert sorted(table.dataset().to_table()["key"].to_pylist()) == before
        assert table.rows == len(before)
        compact(table.folder, SCHEMA, InThisProcess())  # as the next service does
    assert len(table.paths()) == 1
    table.vacuum(0)
    assert {path.name for path in Path(table.folder).glob("*.parquet")} == table.paths()


def test_a_compaction_ends_with_its_bytes(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MERGED_BYTES", 1)
    assert len(compact(table.folder, SCHEMA, InThisProcess())) == 1  # one group at least
    assert compact(table.folder, SCHEMA, InThisProcess()) == []
