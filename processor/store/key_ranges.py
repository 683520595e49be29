"""Key ranges: which data files of a table to merge, so that few of them can have a given key.

The table is kept as a log-structured merge tree (O'Neil et al., "The log-structured merge-tree", 1996),
with partial merges of bounded size. Nothing but the files' sizes, first and last keys decides, so a plan
can be made anew from any table: one of other tools' files, or one that a killed merge has left.

- A **window** is a range of keys with the files that lie in it, of GROUP_BYTES at most. Files join
  windows from the narrowest to the widest.
- A **loose** file is one that no window takes, because it is small, or because it spans too much. Loose
  files are merged with each other, and the result ends where windows end if the pieces are large enough.
- Within a window, and among the loose files, files that do not overlap form a **run**. A run is merged
  with all smaller ones once they are as large as it is together, so that a row is rewritten a few times
  each time that the table doubles; and runs are merged when there are too many.

In a simulation of photos that come in random order at full speed (57,600 an hour), merged each hour, a
row is rewritten 5 times while the table grows to 2 million rows, and 10 times until 10 million, and then
a key is within the bounds of 3.2 files on average, and of 4 at most. Where keys come in their order, a
row is rewritten once.

So few files a key have a price: the smaller an hour's photos are beside the table, the more often a row
is rewritten. At 3,600 an hour it is 8 times until a million rows and 19 times until 3 million, because
the loose files are merged each hour, until they are as many as the windows. What is rewritten in an hour
stays small, and has an upper bound, see `maintenance.COMPACTIONS`.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from processor.store.datafiles import LEAST_BYTES, TARGET_BYTES, DataFile

GROUP_BYTES = 8 * TARGET_BYTES  # that one task merges, in memory; the most that a window has
JOINED_BYTES = GROUP_BYTES * 3 // 4  # the most with which a file makes one window of several
NEIGHBOUR_BYTES = GROUP_BYTES // 2  # the most with which windows beside each other are made one
FULL_BYTES = GROUP_BYTES * 7 // 8  # of a window that would soon take no more files
WINDOW_RUNS = 3
LOOSE_RUNS = 1  # so after a merge at most 4 files can have a key
SPARE_FILES = 4
MOST_BYTES = 2 * TARGET_BYTES  # of a file that is not divided


@dataclass(frozen=True, slots=True)
class Merge:
    """Files to be merged, and the keys before which a merged file should end."""

    files: tuple[DataFile, ...]
    cuts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(each.size for each in self.files)


@dataclass(slots=True)
class _Window:
    first: str
    last: str
    size: int
    files: list[DataFile]


def plan(files: Sequence[DataFile]) -> list[Merge]:
    """The merges that are due, none of which share a file, the most urgent first.

    Each has GROUP_BYTES at most; files of other tools that are larger are left as they are. Once all are
    done there may be others, but in the end there are none.
    """
    windows, loose = _windows([each for each in files if each.size <= GROUP_BYTES])
    cuts = tuple(each.first for each in windows)
    merges = [Merge(share, cuts) for share in _shares(_due(loose, LOOSE_RUNS, LEAST_BYTES))]
    for window in windows:
        full = window.size > FULL_BYTES
        due = _due(window.files, 1 if full else WINDOW_RUNS, TARGET_BYTES)
        merges += [Merge(share) for share in _shares(due)]
    return [each for each in merges if len(each.files) > 1 or each.size > MOST_BYTES]


def _windows(files: Sequence[DataFile]) -> tuple[list[_Window], list[DataFile]]:
    """Windows in the order of their keys, and the loose files."""
    loose = [each for each in files if each.size < LEAST_BYTES // 2]
    ends = sorted(key for each in files for key in (each.first_key, each.last_key))

    def width(file: DataFile) -> int:
        return bisect.bisect(ends, file.last_key) - bisect.bisect_left(ends, file.first_key)

    found: list[_Window] = []
    large = (each for each in files if each.size >= LEAST_BYTES // 2)
    for file in sorted(large, key=lambda each: (width(each), each.path)):
        low = bisect.bisect_left(found, file.first_key, key=lambda each: each.last)
        high = bisect.bisect(found, file.last_key, key=lambda each: each.first)
        joined = found[low:high]
        size = file.size + sum(each.size for each in joined)
        if joined and size > (GROUP_BYTES if len(joined) == 1 else JOINED_BYTES):
            loose.append(file)
        else:
            found[low:high] = [
                _joined([*joined, _Window(file.first_key, file.last_key, file.size, [file])])
            ]
    return _neighbours(found), loose


def _neighbours(windows: list[_Window]) -> list[_Window]:
    """The same, with those that are small joined with the next ones."""
    result: list[_Window] = []
    for window in windows:
        if result and result[-1].size + window.size <= NEIGHBOUR_BYTES:
            result[-1] = _joined([result[-1], window])
        else:
            result.append(window)
    return result


def _joined(windows: Sequence[_Window]) -> _Window:
    return _Window(
        min(each.first for each in windows),
        max(each.last for each in windows),
        sum(each.size for each in windows),
        [file for each in windows for file in each.files],
    )


def _due(files: Sequence[DataFile], most_runs: int, usual_bytes: int) -> list[DataFile]:
    """Those of the files that are to be merged now."""
    total = sum(each.size for each in files)
    if len(files) > 2 * math.ceil(total / usual_bytes) + SPARE_FILES:
        return list(files)
    runs = _runs(files)
    sizes = [sum(each.size for each in run) for run in runs]
    for at in range(len(runs) - 1):
        if sizes[at] <= sum(sizes[at + 1 :]):
            return [file for run in runs[at:] for file in run]
    if len(runs) > most_runs:
        return [file for run in runs[most_runs - 1 :] for file in run]
    return [each for each in files if each.size > MOST_BYTES]


def _runs(files: Sequence[DataFile]) -> list[list[DataFile]]:
    """The files in runs, the largest run first. The largest files come first, and so together."""
    runs: list[list[DataFile]] = []
    for file in sorted(files, key=lambda each: (-each.size, each.path)):
        for run in runs:
            at = bisect.bisect(run, file.first_key, key=_first)
            before = run[at - 1].last_key <= file.first_key if at else True
            after = run[at].first_key >= file.last_key if at < len(run) else True
            if before and after:
                run.insert(at, file)
                break
        else:
            runs.append([file])
    return sorted(runs, key=lambda run: -sum(each.size for each in run))


def _shares(files: Sequence[DataFile]) -> list[tuple[DataFile, ...]]:
    """The files in the order of their first keys, in shares of at most GROUP_BYTES."""
    shares: list[list[DataFile]] = []
    size = 0
    for file in sorted(files, key=_first):
        size += file.size
        if not shares or size > GROUP_BYTES:
            shares.append([])
            size = file.size
        shares[-1].append(file)
    return [tuple(each) for each in shares]


def _first(file: DataFile) -> str:
    return file.first_key
