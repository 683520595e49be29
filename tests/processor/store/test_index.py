"""The index: it agrees with a dict whatever the edits, and may be lost or damaged at any time."""

import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processor.store.index import FEW_ROWS, Edits, Index, Location
from tests.support.keyed_tables import content, opened, write

KEYS, PATHS = "abcd", "PQR"
keys, paths = st.sampled_from(KEYS), st.sampled_from(PATHS)
EDITS = st.one_of(
    st.tuples(st.just("put"), paths, st.dictionaries(keys, st.sampled_from("12"), min_size=1)),
    st.tuples(st.just("drop_keys"), st.sets(keys, max_size=3)),
    st.tuples(st.just("drop_file"), paths),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("clear")),
)


class BrokenOff(BaseException):
    """Ends a step in the middle, as a signal would."""


@dataclass
class InMemory:
    """A second implementation of the edits, from their docstrings."""

    files: set[str] = field(default_factory=set)
    rows: dict[str, Location] = field(default_factory=dict)

    def copy(self) -> "InMemory":
        return InMemory(set(self.files), dict(self.rows))

    def clear(self) -> None:
        self.files, self.rows = set(), {}

    def put(self, path: str, object_versions: dict[str, str]) -> None:
        self.files.add(path)
        self.rows |= {key: Location(version, path) for key, version in object_versions.items()}

    def drop_keys(self, keys: set[str]) -> None:
        self.rows = {key: each for key, each in self.rows.items() if key not in keys}

    def move(self, old: str, new: str) -> None:
        if old in self.files:
            self.files = self.files - {old} | {new}
            self.rows = {
                key: Location(each.object_version, new) if each.path == old else each
                for key, each in self.rows.items()
            }

    def drop_file(self, path: str) -> None:
        self.files -= {path}
        self.rows = {key: each for key, each in self.rows.items() if each.path != path}


def assert_equal(index: Index, wanted: InMemory) -> None:
    assert index.find(KEYS) == wanted.rows
    assert len(index) == len(wanted.rows)
    assert index.paths() == wanted.files
    assert {path for path in PATHS if index.has_file(path)} == wanted.files
    some = {*index.some_keys(9)}
    assert wanted.rows.keys() >= some
    filled = {each.path for each in wanted.rows.values()} == wanted.files
    assert some or not wanted.rows or not filled


def apply(to: Edits | InMemory, edits: list[tuple]) -> None:
    for name, *arguments in edits:
        getattr(to, name)(*arguments)


def ends_here(broken_off: bool) -> None:
    if broken_off:
        raise BrokenOff


def step(*edits: tuple) -> tuple:
    return list(edits), False, False


@example([step(("put", "P", {"a": "1"})), step(("drop_file", "P"))])
@example(
    [step(("put", "P", {"a": "1", "b": "1"})), step(("put", "Q", {"a": "2"}), ("drop_file", "P"))]
)
@example([step(("put", "P", {"a": "1"})), step(("move", "P", "Q"), ("drop_keys", {"a"}))])
@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.lists(EDITS, min_size=1), st.booleans(), st.booleans()), min_size=1, max_size=8
    )
)
def test_after_any_edits_it_agrees_with_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list
) -> None:
    """A step may be broken off, which undoes it, and the index may be closed after it."""
    path = tmp_path_factory.mktemp("index") / "index"
    index, wanted, origin = Index(path), InMemory(), None
    for number, (edits, broken_off, ended) in enumerate(steps):
        before = wanted.copy()
        legal = []
        for edit in edits:  # a file is rewritten under a name that nobody has used before
            if edit[0] != "move" or edit[2] not in wanted.files:
                legal.append(edit)
                apply(wanted, [edit])
        try:
            # What would undo it is in turn in memory and in a file.
            with index.edit("table", number, FEW_ROWS + number % 2) as editing:
                apply(editing, legal)
                ends_here(broken_off)
            origin = ("table", number)
        except BrokenOff:
            wanted = before
        if ended:
            index.close()
            index = Index(path)
        assert index.origin() == origin
        assert_equal(index, wanted)
    index.close()


def test_a_new_index_is_of_no_table(tmp_path: Path) -> None:
    index = Index(tmp_path / "of" / "this" / "service" / "index")
    assert index.origin() is None
    assert_equal(index, InMemory())


# The index of a table


def test_a_lost_or_damaged_index_is_made_again(folder: str, tmp_path: Path) -> None:
    index = tmp_path / "index"
    table = opened(folder, index)
    table.commit([write(folder, {"a": "1", "b": "1"})], [], {})
    table.commit([write(folder, {"b": "2"})], ["b"], {})
    table.close()
    for damage in (lambda: index.unlink(), lambda: index.write_bytes(b"not a database" * 300)):
        damage()
        again = opened(folder, index)
        assert {key: each.object_version for key, each in again.find("ab").items()} == content(
            folder
        )
        again.close()


def test_an_index_of_another_table_is_not_believed(folder: str, tmp_path: Path) -> None:
    table = opened(folder, tmp_path / "index")
    table.commit([write(folder, {"a": "1"})], [], {})
    table.close()
    other = opened(str(tmp_path / "other"), tmp_path / "index")
    assert other.find("a") == {}


def test_an_index_from_before_a_table_was_restored_is_not_believed(
    folder: str, tmp_path: Path
) -> None:
    """The version is the same, the rows are not."""
    table = opened(folder, tmp_path / "index")
    table.commit([write(folder, {"a": "1"})], [], {})
    shutil.copytree(folder, tmp_path / "backup")
    table.commit([write(folder, {"b": "1"})], [], {})
    table.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    other = opened(folder, tmp_path / "other")
    other.commit([write(folder, {"c": "1"})], [], {})
    again = opened(folder, tmp_path / "index")
    assert again.table_version == other.table_version
    assert set(again.find("abc")) == {"a", "c"}
    again.close()


def test_an_index_that_could_not_follow_a_commit_catches_up(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    table = opened(folder, tmp_path / "index")
    with monkeypatch.context() as patched:
        patched.setattr(Index, "edit", full)
        with pytest.raises(sqlite3.OperationalError):
            table.commit([write(folder, {"a": "1"})], [], {})
    assert table.find("a") == {}
    table.refresh()
    assert table.find("a")["a"].object_version == "1"
