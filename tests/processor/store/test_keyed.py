"""Keyed tables: one row per key, whatever two writers do, however often the index is lost."""

import time
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processor.errors import CommitConflict
from processor.store import delta, keyed, objects
from tests.support.keyed_tables import content, opened, write


def test_rows_are_added_replaced_and_dropped(folder: str, tmp_path: Path) -> None:
    table = opened(folder, tmp_path / "index")
    table.commit([write(folder, {"a": "1", "b": "1", "c": "1"})], [], {})
    table.commit([write(folder, {"b": "2"})], ["b"], {})
    table.commit([], ["c"], {})
    assert content(folder) == {"a": "1", "b": "2"}
    assert {key: each.object_version for key, each in table.find("abc").items()} == content(folder)
    assert len(table) == 2


def test_a_file_with_no_rows_left_is_removed(folder: str, tmp_path: Path) -> None:
    table = opened(folder, tmp_path / "index")
    table.commit([write(folder, {"a": "1", "b": "1"})], [], {})
    table.commit([], ["a", "b"], {})
    reopened = delta.open_table(folder)
    assert reopened
    assert reopened.paths() == set()
    assert content(folder) == {}


def test_a_commit_on_an_old_version_changes_nothing(folder: str, tmp_path: Path) -> None:
    one, two = opened(folder, tmp_path / "one"), opened(folder, tmp_path / "two")
    one.commit([write(folder, {"a": "1"})], [], {})
    with pytest.raises(CommitConflict):
        two.commit([write(folder, {"a": "2"})], [], {})
    assert content(folder) == {"a": "1"}
    two.refresh()
    two.commit([write(folder, {"a": "2"})], ["a"], {})
    assert content(folder) == {"a": "2"}
    one.refresh()
    assert one.find("a")["a"].object_version == "2"


def test_an_empty_commit_is_a_fence(folder: str, tmp_path: Path) -> None:
    one, two = opened(folder, tmp_path / "one"), opened(folder, tmp_path / "two")
    one.commit([], [], {})
    with pytest.raises(CommitConflict):
        two.commit([write(folder, {"a": "1"})], [], {})


def test_the_log_is_listed_only_if_there_is_news(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = []
    listing = DeltaTable.update_incremental

    def counted(table: DeltaTable) -> None:
        listings.append(table)
        listing(table)

    one, two = opened(folder, tmp_path / "one"), opened(folder, tmp_path / "two")
    monkeypatch.setattr(DeltaTable, "update_incremental", counted)
    one.refresh()
    assert listings == []
    two.commit([write(folder, {"a": "1"})], [], {})
    listings.clear()
    one.refresh()
    assert len(listings) == 1
    assert one.find("a")["a"].object_version == "1"


def test_a_log_whose_next_entry_has_expired_is_listed_in_time(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, busy = opened(folder, tmp_path / "idle"), opened(folder, tmp_path / "busy")
    for number in range(delta.CHECKPOINT_COMMITS + 1):
        busy.commit([write(folder, {f"{number}": "1"})], [], {})
    for number in range(delta.CHECKPOINT_COMMITS):  # as after a checkpoint, in 30 days
        Path(folder, "_delta_log", f"{number:020}.json").unlink()
    idle.refresh()
    assert len(idle) == 0
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + keyed.LISTED_SECONDS)
    idle.refresh()
    assert len(idle) == len(busy)


def test_after_a_conflict_a_stale_response_is_not_trusted(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = opened(folder, tmp_path / "one"), opened(folder, tmp_path / "two")
    two.commit([write(folder, {"a": "1"})], [], {})
    monkeypatch.setattr(objects, "exists", lambda _: False)  # as from a proxy's cache
    one.refresh()
    with pytest.raises(CommitConflict):
        one.commit([write(folder, {"a": "2"})], [], {})
    one.refresh()
    assert one.find("a")["a"].object_version == "1"


def test_any_key_is_found_again(folder: str, tmp_path: Path) -> None:
    keys = ["ü b+%20:'\"\n", "🍎" * 256, "", "a\x00b", "\\", "zebra"]
    table = opened(folder, tmp_path / "index")
    table.commit([write(folder, dict.fromkeys(keys, "1"))], [], {})
    table.commit([write(folder, {keys[1]: "2"})], [keys[1]], {})
    assert content(folder) == dict.fromkeys(keys, "1") | {keys[1]: "2"}


steps = st.lists(
    st.tuples(
        st.integers(0, 1),  # the writer
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=4),
        st.sets(st.sampled_from("abcdef"), max_size=3),
        st.booleans(),  # whether the writer loses its index first
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps)
def test_two_writers_keep_one_row_per_key(
    tmp_path_factory: pytest.TempPathFactory, steps: list
) -> None:
    root = tmp_path_factory.mktemp("two")
    folder = str(root / "table")
    indexes = [root / "0", root / "1"]
    writers = [opened(folder, index) for index in indexes]
    expected: dict[str, str] = {}
    for writer, puts, drops, forgets in steps:
        if forgets:
            writers[writer].close()
            indexes[writer].unlink()
            writers[writer] = opened(folder, indexes[writer])
        table = writers[writer]
        table.refresh()
        table.commit([write(folder, puts)] if puts else [], {*puts, *drops}, {})
        for key in drops:
            expected.pop(key, None)
        expected.update(puts)
    assert content(folder) == expected
    for table in writers:
        table.refresh()
        assert {key: each.object_version for key, each in table.find("abcdef").items()} == expected
        table.close()
