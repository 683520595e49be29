"""A damaged index: it is empty or an error that the next start survives, and never wrong.

A row that is not found would be stored twice.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.errors import ServiceError
from processor.store.index import Index, Location
from tests.support.disks import small_disk

PAGE = 4096
ROWS = {f"photos/{'long' * 40}/{n}.jpg": f"version-{n}" for n in range(200)}


def filled(path: Path) -> Index:
    index = Index(path)
    with index.edit("table", 1) as edits:
        edits.put("P", ROWS)
        edits.put("Q", {"photos/q.jpg": "q"})
    return index


def zeroed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(PAGE) + data[at + PAGE :]


def flipped(data: bytes, at: int) -> bytes:
    """One bit in the last byte of each page, which is a part of a key or of a version."""
    at = min(at + PAGE, len(data)) - 1
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def truncated(data: bytes, at: int) -> bytes:
    return data[:at]


def assert_right_or_empty(index: Index) -> None:
    if index.origin() is None:
        assert (len(index), index.paths(), index.find(ROWS)) == (0, set(), {})
        return
    assert index.origin() == ("table", 1)
    assert {*index.some_keys(9)} <= {*ROWS, "photos/q.jpg"}
    assert index.find(ROWS) == {key: Location(version, "P") for key, version in ROWS.items()}
    assert index.find(["photos/q.jpg"]) == {"photos/q.jpg": Location("q", "Q")}
    assert (len(index), index.paths()) == (len(ROWS) + 1, {"P", "Q"})
    assert index.has_file("P")
    assert not index.has_file("R")


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("damage", [zeroed, flipped, truncated])
def test_no_damage_between_two_runs_makes_a_wrong_answer(
    tmp_path: Path, damage: Callable[[bytes, int], bytes], closed: bool
) -> None:
    """``closed``: by its service, which is killed otherwise. Each page of each file in turn."""
    index = filled(tmp_path / "index")
    if closed:
        index.close()
    left = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    index.close()
    for name, data in left.items():
        for at in range(0, len(data), PAGE):
            folder = tmp_path / f"{name}-{at}"
            folder.mkdir()
            for other, whole in left.items():
                (folder / other).write_bytes(damage(data, at) if other == name else whole)
            again = Index(folder / "index")
            assert_right_or_empty(again)
            with again.edit("table", 1) as edits:
                edits.put("P", ROWS)
                edits.put("Q", {"photos/q.jpg": "q"})
            assert_right_or_empty(again)
            again.close()


def test_a_closed_index_is_kept(tmp_path: Path) -> None:
    filled(tmp_path / "index").close()
    for _ in range(2):
        index = Index(tmp_path / "index")
        assert index.origin() == ("table", 1)
        assert_right_or_empty(index)
        index.close()


@pytest.mark.parametrize("damage", [zeroed, truncated])
def test_damage_in_use_makes_no_wrong_answer_and_no_second_error(
    tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    path = tmp_path / "index"
    filled(path).close()
    whole = {each: each.read_bytes() for each in tmp_path.iterdir()}

    def errors(harm: bytes | None = None) -> int:
        """The number of errors of one service, whose index is overwritten once it is open."""
        with contextlib.ExitStack() as closing:
            try:
                index = Index(path)
                closing.callback(index.close)
                if harm is not None:
                    path.write_bytes(harm)
                assert_right_or_empty(index)
            except ServiceError as error:
                said.append(str(error))
                return 1
        return 0

    said: list[str] = []
    for at in range(0, len(whole[path]), PAGE):
        for file, data in whole.items():
            file.write_bytes(data)
        assert errors(damage(whole[path], at)) + errors() + errors() < 2
    assert len(said) > 5
    assert all(f"{path} cannot be used (" in each for each in said)


def test_an_index_that_is_deleted_in_use_stays_right(tmp_path: Path) -> None:
    index = filled(tmp_path / "work" / "index")
    shutil.rmtree(tmp_path / "work")
    assert_right_or_empty(index)
    with index.edit("table", 2) as edits:
        edits.put("R", {"r": "1"})
    assert index.find(["r"]) == {"r": Location("1", "R")}
    index.close()
    assert Index(tmp_path / "work" / "index").origin() is None


def test_a_path_that_cannot_be_used_is_an_error_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(ServiceError, match=r"index cannot be used.*Is a directory"):
        Index(tmp_path / "index")
    assert (tmp_path / "index").is_dir()


def test_a_full_disk_is_named_and_the_next_index_is_sound(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64 * PAGE) as disk:
        index = Index(disk / "index")
        with (
            pytest.raises(ServiceError, match=r"disk/index cannot be used .*full"),
            index.edit("table", 1) as edits,
        ):
            edits.put("P", {f"{n:0900}": "1" for n in range(2000)})
        index.close()
        again = Index(disk / "index")
        assert_right_or_empty(again)
        again.close()
