"""Sorted rows: some columns of a table in the order of its keys, in bounded memory, whatever its size.

An external merge sort (Knuth, The Art of Computer Programming, vol. 3, section 5.4): sorted runs go to
the disk and are merged while they are read. The order is that of the keys' UTF-8 bytes, so of Python's
strings; S3 lists keys in it, too.
"""

import heapq
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from processor.store.datafiles import KEY
from processor.store.delta import Table

RUN_ROWS = 250_000  # 25 MB with keys of 40 bytes
BATCH_ROWS = 512  # of each run in memory while it is merged; 300 bytes a row
READERS = 8

Row = tuple[Any, ...]


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
        for parts in read_ahead(table, table.paths(), (KEY, *columns)):
            rows = pa.concat_tables(parts.values())
            wanted = pc.and_(pc.starts_with(rows[KEY], prefix), pc.greater(rows[KEY], after))
            runs.append(files.enter_context(tempfile.TemporaryFile(dir=scratch)))
            write(rows.filter(wanted).sort_by(KEY), runs[-1])
            runs[-1].seek(0)
        yield from merged(map(rows_in, runs))


def read_ahead(
    table: Table, paths: Collection[str], columns: Sequence[str]
) -> Iterator[dict[str, pa.Table]]:
    """Columns of data files, by path, of so many at once that they have RUN_ROWS rows, as far as known.

    The next ones are read while the caller has the last. In memory are both, and at least the longest.
    """
    with ThreadPoolExecutor(READERS) as pool:

        def start(group: list[str]) -> Iterator[tuple[str, pa.Table]]:
            return zip(
                group,
                pool.map(lambda path: table.read_columns(path, columns), group),
                strict=True,
            )

        groups = map(start, _groups(table, paths))
        ahead = next(groups, None)
        while ahead is not None:
            parts, ahead = dict(ahead), next(groups, None)
            yield parts


def _groups(table: Table, paths: Collection[str]) -> Iterator[list[str]]:
    counts = table.row_counts()
    group: list[str] = []
    rows = 0
    for path in sorted(paths):
        group.append(path)
        count = counts[path]
        rows += RUN_ROWS if count is None else count
        if rows >= RUN_ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def write(run: pa.Table, file: IO[bytes]) -> None:
    """Write a sorted run, to be read by :func:`rows_in`."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(file, run.schema, options=options) as writer:
        writer.write_table(run, max_chunksize=BATCH_ROWS)


def rows_in(run: IO[bytes]) -> Iterator[Row]:
    """The rows of a run, as tuples."""
    for batch in pa.ipc.open_stream(run):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def merged(runs: Iterable[Iterable[Row]]) -> Iterator[Row]:
    """The rows of sorted runs, in the order of their keys, which come first."""
    return heapq.merge(*runs, key=itemgetter(0))
