"""Key ranges: few files have a given key, rows are rewritten a few times, and there is an end."""

import bisect
import random
from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.store import datafiles
from processor.store.datafiles import TARGET_BYTES, DataFile
from processor.store.key_ranges import GROUP_BYTES, LOOSE_RUNS, WINDOW_RUNS, Merge, plan

FULL_ROWS = 64  # of a file of TARGET_BYTES
ROW_BYTES = TARGET_BYTES // FULL_ROWS
ROUNDS = 40


class DrawnTable:
    """Keys in data files that were never written; ``rewritten`` counts rows."""

    def __init__(self) -> None:
        self.keys: dict[str, list[str]] = {}
        self.files: list[DataFile] = []
        self.rewritten = 0

    def add(self, keys: Iterable[str]) -> None:
        rows = sorted(keys)
        path = f"{len(self.keys)}"
        self.keys[path] = rows
        self.files.append(DataFile(path, len(rows) * ROW_BYTES, len(rows), rows[0], rows[-1]))

    def compact(self, rounds: int = ROUNDS) -> None:
        for _ in range(rounds):
            merges = plan(self.files)
            if not merges:
                return
            for each in merges:
                self._merge(each)
        assert not plan(self.files)

    def _merge(self, merge: Merge) -> None:
        assert merge.size <= GROUP_BYTES
        assert set(merge.files) <= set(self.files)  # so no two merges have a file in common
        self.files = [each for each in self.files if each not in merge.files]
        rows = sorted(key for each in merge.files for key in self.keys[each.path])
        self.rewritten += len(rows)
        start = 0
        cuts = [bisect.bisect_left(rows, cut) for cut in merge.cuts]
        for end in datafiles.ends(cuts, len(rows), ROW_BYTES):
            self.add(rows[start:end])
            start = end

    def having(self, key: str) -> int:
        """The number of files that may have a key."""
        return sum(each.first_key <= key <= each.last_key for each in self.files)


def grown(rows: int, key: Callable[[int], str]) -> DrawnTable:
    """A table to which 56 files are added, each a quarter of a full one, between compactions."""
    table = DrawnTable()
    count = FULL_ROWS // 4
    for start in range(0, rows, count):
        table.add(map(key, range(start, start + count)))
        if start // count % 56 == 55:
            table.compact()
    table.compact()
    return table


def test_keys_in_random_order() -> None:
    """As if half a million photos came."""
    numbers = random.Random(0).sample(range(10**6), 8192)
    table = grown(8192, lambda n: f"{numbers[n]:06}")
    at = [table.having(f"{key:06}") for key in range(0, 10**6, 997)]
    assert max(at) <= WINDOW_RUNS + LOOSE_RUNS
    assert table.rewritten < 5 * 8192
    assert len(table.files) < 1.5 * 8192 / FULL_ROWS
    assert max(each.size for each in table.files) <= TARGET_BYTES


def test_keys_in_their_order_are_rewritten_once() -> None:
    table = grown(8192, lambda n: f"{n:06}")
    assert max(table.having(f"{key:06}") for key in range(8192)) == 1
    assert table.rewritten <= 8192
    assert len(table.files) < 1.1 * 8192 / FULL_ROWS


def test_a_trickle() -> None:
    """Files with one row each, of a size that a thousand of them are not worth a file."""
    files = [DataFile(f"{n}", 2000, 1, f"{n:04}", f"{n:04}") for n in range(1000)]
    (merge,) = plan([*files, DataFile("full", TARGET_BYTES, 4000, "0000", "9999")])
    assert set(merge.files) == set(files)


def test_files_of_the_former_release_are_divided() -> None:
    """All have 64 MB, and keys from one end of the table to the other."""
    table, numbers = DrawnTable(), list(range(8 * 8 * FULL_ROWS))
    random.Random(1).shuffle(numbers)
    for start in range(0, len(numbers), 8 * FULL_ROWS):
        table.add(f"{n:06}" for n in numbers[start : start + 8 * FULL_ROWS])
    table.compact()
    assert max(each.size for each in table.files) <= TARGET_BYTES
    assert max(map(table.having, (f"{n:06}" for n in numbers))) <= WINDOW_RUNS + LOOSE_RUNS


def test_a_large_file_of_another_tool_is_left_alone() -> None:
    large = DataFile("large", GROUP_BYTES + 1, 9, "a", "z")
    assert plan([large]) == []
    (merge,) = plan([large, DataFile("2", 9, 9, "b", "c"), DataFile("3", 9, 9, "b", "d")])
    assert large not in merge.files


sizes = st.integers(1, 6) | st.integers(1, 6 * FULL_ROWS)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(sizes, st.booleans()), max_size=40), st.integers(0, 9), st.integers(0, 9))
def test_any_table_comes_to_an_end(files: list[tuple[int, bool]], seed: int, doubles: int) -> None:
    """Of files in random order, or in that of their keys; no row is lost."""
    table, rows = DrawnTable(), sum(size for size, _ in files)
    drawn = random.Random(seed)
    unordered, ordered = drawn.sample(range(rows), rows), iter(range(rows, 2 * rows))
    for size, in_order in files:
        numbers = [next(ordered) if in_order else unordered.pop() for _ in range(size)]
        table.add(f"{number // (1 + doubles // 9):06}" for number in numbers)
    before = sorted(key for each in table.files for key in table.keys[each.path])
    table.compact()
    assert sorted(key for each in table.files for key in table.keys[each.path]) == before
    if doubles < 9:
        assert max(map(table.having, before), default=0) <= WINDOW_RUNS + LOOSE_RUNS
