"""Keyed tables with another writer: what its commits were about, and what a commit that loses costs."""

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.errors import CommitConflict
from processor.store import datafiles, delta, keyed
from processor.store.compaction import compact
from processor.store.datafiles import DataFile, KeyedFile
from processor.store.keyed import KeyedTable
from tests.support.fake_tables import Access, FakeTable, Shared, access
from tests.support.in_process import InThisProcess
from tests.support.keyed_tables import SCHEMA, content, opened, write


def test_what_other_commits_were_about(folder: str, tmp_path: Path) -> None:
    one, two = opened(folder, tmp_path / "one"), opened(folder, tmp_path / "two")
    two.commit([write(folder, {"a": "1", "b": "1"})], [], {})
    two.commit([], ["b", "c"], {}, about=["d"])
    assert one.touched("abcdef", 0) == set()
    one.refresh()
    assert one.touched("abcdef", 0) == set("abcd")
    assert one.touched("abcdef", 1) == set("bcd")
    assert one.touched("abcdef", 2) == one.touched("ef", 1) == set()


def test_a_compaction_is_about_no_key(folder: str, tmp_path: Path) -> None:
    table = opened(folder, tmp_path / "index")
    for number in range(8):
        table.commit([write(folder, {f"{number}": "1"})], [], {})
    assert compact(folder, SCHEMA, InThisProcess())
    table.refresh()
    assert table.touched("0123", 8) == set()


def test_where_the_log_does_not_tell_a_commit_may_be_about_any_key(
    folder: str, tmp_path: Path
) -> None:
    table, other = opened(folder, tmp_path / "index"), delta.open_table(folder)
    assert other
    other.commit(SCHEMA, [], [])  # another tool's, or of an earlier release
    table.refresh()
    table.commit([], [], {}, about="a")
    assert table.touched("ab", 0) == set("ab")
    assert table.touched("ab", 1) == {"a"}
    assert table.touched("b", 0) == {"b"}  # there are more commits than keys
    assert table.touched("ab", 3) == set("ab")  # it is another table
    Path(folder, "_delta_log", f"{2:020}.json").unlink()
    assert table.touched("ab", 1) == set("ab")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data files that have been rewritten."""
    paths: list[str] = []
    without = datafiles.without

    def counted(folder: str, path: str, keys: frozenset[str]) -> DataFile | None:
        paths.append(path)
        return without(folder, path, keys)

    monkeypatch.setattr(datafiles, "without", counted)
    return paths


def scattered(folder: str, index: Path) -> tuple[KeyedTable, list[KeyedFile]]:
    """A table of many files, each with a row to replace and one to keep."""
    table = opened(folder, index)
    files = [write(folder, {f"{n}": "1", f"kept {n}": "1"}) for n in range(MANY)]
    table.commit(files, [], {})
    return table, files


MANY = 3 * keyed.REWRITTEN_AT_ONCE
REPLACED = {f"{n}": "2" for n in range(MANY)}


def test_files_are_rewritten_once_even_if_the_commit_loses(
    folder: str, tmp_path: Path, written: list[str]
) -> None:
    one, files = scattered(folder, tmp_path / "one")
    two = opened(folder, tmp_path / "two")
    two.commit([write(folder, {"another": "1"})], [], {})
    file, rewrites = write(folder, REPLACED), {}
    with pytest.raises(CommitConflict):
        one.commit([file], REPLACED, {}, rewrites=rewrites)
    one.refresh()
    one.commit([file], REPLACED, {}, rewrites=rewrites)
    assert sorted(written) == sorted(each.file.path for each in files)
    assert content(folder) == {f"kept {n}": "1" for n in range(MANY)} | REPLACED | {"another": "1"}


def test_a_commit_that_has_lost_stops_rewriting(
    folder: str, tmp_path: Path, written: list[str]
) -> None:
    one, _ = scattered(folder, tmp_path / "one")
    two = opened(folder, tmp_path / "two")
    two.commit([write(folder, REPLACED)], REPLACED, {})
    written.clear()
    with pytest.raises(CommitConflict):
        one.commit([write(folder, REPLACED)], REPLACED, {})
    assert len(written) == keyed.REWRITTEN_AT_ONCE


def test_what_a_commit_rewrites_is_bounded(
    folder: str, tmp_path: Path, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with many of the keys come first; keys without rows cost nothing."""
    table, files = scattered(folder, tmp_path / "index")
    size = max(each.file.size for each in files)
    wanted = [*REPLACED, "new", "kept 7"]
    assert table.unaffordable(wanted) == set()
    monkeypatch.setattr(keyed, "REWRITTEN_BYTES", 3 * size)
    later = table.unaffordable(wanted)
    assert len(later) == MANY - 3
    assert not later & {"new", "7", "kept 7"}
    table.commit([], {*wanted} - later, {})
    assert len(written) == 3
    monkeypatch.setattr(keyed, "REWRITTEN_BYTES", 1)
    assert len(table.unaffordable(later)) == len(later) - 1  # or it would not come to an end


class FakePair:
    """Two writers of a table in memory, which come one after the other."""

    def __init__(self) -> None:
        self.shared = Shared()
        paths = itertools.count()
        self.writers = [FakeTable("", self.ask, lambda: next(paths)) for _ in "ab"]

    def ask(self, request: Access) -> object:
        answer, self.shared = access(self.shared, request)
        return answer


keys = st.sampled_from("abcd")
requests = st.lists(
    st.tuples(
        st.integers(0, 1),  # the writer
        st.booleans(),  # whether it is up to date
        st.dictionaries(keys, st.sampled_from("12"), max_size=3),
        st.sets(keys, max_size=2),
        st.sets(keys, max_size=2),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requests)
def test_tables_in_memory_do_the_same(
    tmp_path_factory: pytest.TempPathFactory, requests: list
) -> None:
    """What the model checker of two writers proves with those holds for these."""
    root = tmp_path_factory.mktemp("same")
    real = [opened(str(root / "table"), root / f"{n}") for n in range(2)]
    fake = FakePair().writers
    for table in fake:
        table.refresh()
    for writer, refreshes, puts, drops, about in requests:
        told = []
        for table in (real[writer], fake[writer]):
            if refreshes:
                table.refresh()
            rows = [{"key": key, "version": version} for key, version in puts.items()]
            added = []
            if rows:
                added = [table.write([*rows, {"key": "zzzz", "version": "1"}])]
                file = table.without(added[0].file, ["zzzz"])
                added = [KeyedFile(file, puts)]
            try:
                table.commit(added, {*puts, *drops}, {}, about=about)
                committed = True
            except CommitConflict:
                committed = False
                table.refresh()
            version = table.table_version
            found = {key: each.object_version for key, each in table.find("abcdz").items()}
            live = [table.has_file(each.file.path) for each in added]
            touched = [table.touched("abcdef", max(0, version - n)) for n in range(3)]
            read = table.rows("abcd", ["key", "version"])
            told.append((committed, version, len(table), found, live, touched, read))
        assert told[0] == told[1]
    for table in real:
        table.close()
