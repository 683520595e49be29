"""The index of a table, made from the table as at the start of a service.

``python -m benchmarks.workloads.indexing fill FOLDER ROWS`` makes the table, ``… index FOLDER FILE``
opens it with a new index and prints a :class:`Run`, ``… snapshot FOLDER FILE`` makes that index the
table's snapshot. With a snapshot, ``index`` begins with it.
"""

import hashlib
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.harness.protocol import answer
from benchmarks.harness.usage import peak_rss
from processor.store import datafiles, delta
from processor.store.index_snapshot import IndexSnapshot
from processor.store.keyed import KeyedTable

FILE_ROWS = 32_768  # of 64 MB with 512 features: what compaction makes
FOUND = 2048  # keys: those of a large micro-batch
BATCHES = 20
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Run:
    """``rss``: the process's peak memory in bytes, ``base_rss``: of it, before it began.

    ``find_s``: to find the keys of a micro-batch afterwards, the median; ``bytes``: of the file.
    """

    seconds: float
    cpu: float
    rss: int
    base_rss: int
    rows: int
    find_s: float
    bytes: int


def key(number: int) -> str:
    """Without order, so that each file has keys from everywhere."""
    name = hashlib.blake2b(str(number).encode(), digest_size=12).hexdigest()
    return f"photos/label-{number % 97}/{name}.jpg"


def blocks(rows: int) -> Iterator[pa.Table]:
    for start in range(0, rows, FILE_ROWS):
        keys = [key(n) for n in range(start, min(start + FILE_ROWS, rows))]
        etags = [hashlib.blake2b(each.encode(), digest_size=16).hexdigest() for each in keys]
        yield pa.table({"key": keys, "version": etags}, schema=SCHEMA)


def fill(folder: str, rows: int) -> None:
    table = delta.create_table(folder, SCHEMA)
    table.commit(SCHEMA, [datafiles.write(folder, block) for block in blocks(rows)], ())


def index(folder: str, file: Path) -> Run:
    """What the service does at its start."""
    base, began, used = peak_rss(), time.monotonic(), time.process_time()
    table = KeyedTable(folder, SCHEMA, file)
    seconds, cpu, rss = time.monotonic() - began, time.process_time() - used, peak_rss()
    rows = len(table)
    find_s = find_seconds(lambda keys: len(table.find(keys)), rows)
    table.close()
    return Run(seconds, cpu, rss, base, rows, find_s, file.stat().st_size)


def find_seconds(find: Callable[[list[str]], int], rows: int) -> float:
    """The median of several batches of keys from everywhere; ``find`` returns how many it found."""
    draw = random.Random(3)
    spent = []
    for _ in range(BATCHES):
        keys = [key(n) for n in draw.sample(range(rows), min(FOUND, rows))]
        began = time.monotonic()
        found = find(keys)
        spent.append(time.monotonic() - began)
        assert found == len(keys)
    return statistics.median(spent)


def main(kind: str, folder: str, argument: str) -> None:
    if kind == "fill":
        fill(folder, int(argument))
    elif kind == "snapshot":
        IndexSnapshot(folder).write(Path(argument))
    else:
        answer(index(folder, Path(argument)))


if __name__ == "__main__":
    main(*sys.argv[1:])
