"""Sorted rows: some columns of a table in the order of its keys, in bounded memory, whatever its size.

An external merge sort (Knuth, The Art of Computer Programming, vol. 3, section 5.4): sorted runs go to
the disk and are merged while they are read. The order is that of the keys' UTF-8 bytes, so of Python's
strings; S3 lists keys in it, too.
"""

import heapq
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from processor.store.datafiles import KEY
from processor.store.delta import Table

RUN_ROWS = 500_000  # 50 MB with keys of 40 bytes
BATCH_ROWS = 4096  # of each run in memory while it is merged
READERS = 8

Row = tuple[str, ...]


def sorted_rows(
    table: Table, columns: Sequence[str], scratch: Path, *, prefix: str = "", after: str = ""
) -> Iterator[Row]:
    """The rows whose key begins with ``prefix`` and is greater than ``after``, as tuples of strings.

    ``columns`` are columns of strings; ``key`` comes first and is not among them. Reads them of all data
    files before the first row, and keeps them in unnamed files in the folder ``scratch`` until it ends.
    Raises FileNotFoundError if a vacuum has deleted a file of this version, and OSError if the disk is
    full.
    """
    with ExitStack() as files:
        runs = []
        for run in _runs(table, (KEY, *columns), prefix, after):
            runs.append(files.enter_context(tempfile.TemporaryFile(dir=scratch)))
            _write(run, runs[-1])
        yield from heapq.merge(*map(_rows, runs), key=itemgetter(0))


def _runs(table: Table, columns: Sequence[str], prefix: str, after: str) -> Iterator[pa.Table]:
    """Sorted parts of the table, of little more than RUN_ROWS."""

    def read(path: str) -> pa.Table:
        rows = table.read_columns(path, columns)
        wanted = pc.and_(pc.starts_with(rows[KEY], prefix), pc.greater(rows[KEY], after))
        return rows.filter(wanted)

    collected: list[pa.Table] = []
    paths = sorted(table.paths())
    with ThreadPoolExecutor(READERS) as pool:
        for at in range(0, len(paths), READERS):
            collected += pool.map(read, paths[at : at + READERS])
            if sum(map(len, collected)) >= RUN_ROWS:
                yield pa.concat_tables(collected).sort_by(KEY)
                collected = []
    if collected:
        yield pa.concat_tables(collected).sort_by(KEY)


def _write(run: pa.Table, file: IO[bytes]) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(file, run.schema, options=options) as writer:
        writer.write_table(run, max_chunksize=BATCH_ROWS)
    file.seek(0)


def _rows(run: IO[bytes]) -> Iterator[Row]:
    for batch in pa.ipc.open_stream(run):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
