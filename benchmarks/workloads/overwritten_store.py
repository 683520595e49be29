"""A store whose photos come in random order, are looked up, and overwritten.

``python -m benchmarks.workloads.overwritten_store FOLDER COMPACTION ROWS …`` fills the features of a
local store up to each number of ROWS, by micro-batches of 2,048 photos in two files, with the module
COMPACTION run after every 28 of them, and prints one :class:`Level` a line.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness.child import output_of, parse
from benchmarks.harness.protocol import answer
from benchmarks.workloads import drawn_features
from benchmarks.workloads.compact import Compacted
from common.layout import StoreLayout
from processor.store import datafiles, delta, schema
from processor.store.datafiles import KeyedFile
from processor.store.delta import Table
from processor.store.keyed import KeyedTable
from processor.store.schema import FEATURES

BATCH, TASKS, COMPACT_EVERY = 2048, 2, 28
LOOKUPS = 50
COMPONENTS = 64


@dataclass(frozen=True, slots=True)
class Overwrites:
    """A micro-batch of them: files and bytes that were replaced, in how many commits, in how long."""

    files: int
    bytes: int
    commits: int
    most_bytes: int  # in one commit
    seconds: float


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured at one number of rows. ``why``: of features/ and of reduced/, a key."""

    rows: int
    files: int
    bytes: int
    merged: int  # bytes of the files that compactions have merged so far
    compaction_rss: int
    why_files: float  # of features/ that may have a key, on average
    why_files_max: int
    why_bytes: float  # read from both, without the log
    scattered: Overwrites  # of photos anywhere
    together: Overwrites  # of photos with keys beside each other


class OverwrittenStore:
    def __init__(self, folder: str, compaction: str) -> None:
        self._uri = f"{folder}/"
        self._layout = StoreLayout(self._uri)
        self._compaction = compaction
        self._table = delta.create_table(self._layout.features, FEATURES, drawn_features.MODEL)
        self._random = np.random.default_rng(0)
        self._blocks = drawn_features.drawn(1 << 40, 0, BATCH // TASKS)
        self._rows = self._batches = self._merged = self._compaction_rss = 0

    def level(self, rows: int) -> Level:
        """Fill the store up to ``rows``, look up keys, and overwrite some."""
        while self._rows < rows:
            self._add()
        self._compact()
        self._table.refresh()
        sizes = self._table.sizes()
        files, bytes_read = self._lookups()
        table = KeyedTable(self._layout.features, FEATURES, Path(self._uri, "index.sqlite"))
        keys = np.array(sorted(self._keys(self._table)))
        scattered = self._random.choice(keys, BATCH, replace=False)
        start = int(self._random.integers(len(keys) - BATCH))
        anywhere = _overwrite(table, scattered.tolist())
        together = _overwrite(table, keys[start : start + BATCH].tolist())
        table.close()
        self._table.refresh()
        return Level(
            rows=len(keys),
            files=len(sizes),
            bytes=sum(sizes.values()),
            merged=self._merged,
            compaction_rss=self._compaction_rss,
            why_files=mean(files),
            why_files_max=max(files),
            why_bytes=mean(bytes_read),
            scattered=anywhere,
            together=together,
        )

    def _add(self) -> None:
        added = [datafiles.write(self._layout.features, self._drawn()) for _ in range(TASKS)]
        self._table.commit(FEATURES, added, ())
        self._rows += BATCH
        self._batches += 1
        if self._batches % COMPACT_EVERY == 0:
            self._compact()

    def _drawn(self) -> pa.Table:
        """Rows of a data file, with keys anywhere."""
        rows = drawn_features.table(next(self._blocks), "")
        keys = [
            f"photos/label-{number % 50:02}/{number:016x}.jpg"
            for number in self._random.integers(1 << 62, size=len(rows)).tolist()
        ]
        return rows.set_column(0, FEATURES.field("key"), pa.array(keys))

    def _compact(self) -> None:
        done = parse(Compacted, output_of(self._compaction, self._uri), self._compaction)
        self._merged += done.merged
        self._compaction_rss = max(self._compaction_rss, done.rss)
        self._table.refresh()
        self._table.vacuum(0)  # or the disk would hold all that was ever merged

    def _lookups(self) -> tuple[list[int], list[int]]:
        """For each of some keys, the files of features/ that may have it, and the bytes read for it."""
        reduced = self._mirrored()
        files, bytes_read = [], []
        for key in self._random.choice(sorted(self._keys(self._table)), LOOKUPS).tolist():
            where = pc.field("key") == key
            files.append(len(list(self._table.dataset().get_fragments(where))))
            before = _bytes_read()
            for table in (self._table, reduced):
                columns = [name for name in table.columns.names if name != "features"]
                (row,) = table.rows_where(where, columns).to_pylist()
                assert row["key"] == key
            bytes_read.append(_bytes_read() - before)
        return files, bytes_read

    def _mirrored(self) -> Table:
        """A matrix with a data file for each of the features, as the service has it."""
        columns = schema.reduced(COMPONENTS)
        table = delta.create_table(self._layout.reduced, columns)
        added = []
        for path in self._table.paths():
            rows = datafiles.read(self._layout.features, path, ["key", "label"])
            values = self._random.standard_normal((COMPONENTS, len(rows)), np.float32)
            arrays = [*rows.columns, *map(pa.array, values)]
            added.append(
                datafiles.write(self._layout.reduced, pa.table(arrays, schema=columns), path=path)
            )
        table.commit(columns, added, (), overwrite=True)
        return table

    def _keys(self, table: Table) -> list[str]:
        keys: list[str] = table.dataset().to_table(columns=["key"])["key"].to_pylist()
        return keys


def _overwrite(table: KeyedTable, keys: list[str]) -> Overwrites:
    """Replace the rows of ``keys`` as micro-batches do."""
    files = total = commits = most = 0
    began = time.perf_counter()
    rows = drawn_features.table(np.zeros((len(keys), drawn_features.COLUMNS), np.float32), "again")
    left = set(keys)
    while left:
        now = sorted(left - table.unaffordable(sorted(left)))
        before = _sizes(table)
        written = rows.slice(0, len(now)).set_column(0, FEATURES.field("key"), pa.array(now))
        file = datafiles.write(table.folder, written)
        table.commit([KeyedFile(file, dict.fromkeys(now, "again"))], now, {})
        removed = [size for path, size in before.items() if not table.has_file(path)]
        files, total, commits = files + len(removed), total + sum(removed), commits + 1
        most = max(most, sum(removed))
        left -= set(now)
        table.refresh()
    return Overwrites(files, total, commits, most, time.perf_counter() - began)


def _sizes(table: KeyedTable) -> dict[str, int]:
    opened = delta.open_table(table.folder)
    return opened.sizes() if opened else {}


def _bytes_read() -> int:
    """Of this process, in read calls; files in memory maps do not count."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def main(folder: str, compaction: str, *levels: str) -> None:
    store = OverwrittenStore(folder, compaction)
    for rows in map(int, levels):
        answer(store.level(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
