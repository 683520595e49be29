"""Data files: the Parquet objects of a table, written and read by Spark tasks, committed by the driver.

A table's folder is a URI, ``s3://bucket/prefix``, or a local path in benchmarks. A file is written in
one request under a name never used before, so a task that dies leaves an orphaned file at most, never a
partial one.
"""

import bisect
import io
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processor.store import objects

KEY = "key"
TARGET_BYTES = 8 << 20  # of a merged file: 4,000 photos of 512 features; to replace one rewrites it
LEAST_BYTES = TARGET_BYTES // 8  # of a merged file that ends before a given key
GROUP_ROWS = 4096  # in a row group: readers of a few keys skip the others
_NAME = re.compile(r"([\w.-]+/)?part-[0-9a-f]{32}\.parquet")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that has been written to a table's folder, to be committed.

    ``path`` is relative to the folder, ``size`` in bytes; ``first_key`` and ``last_key`` are the
    smallest and the largest key in it, for readers that skip files.
    """

    path: str
    size: int
    rows: int
    first_key: str
    last_key: str


@dataclass(frozen=True, slots=True)
class Swap:
    """Files that were merged, and those that have exactly their rows now."""

    removed: tuple[DataFile, ...]
    added: tuple[DataFile, ...]

    def paths(self) -> tuple[frozenset[str], frozenset[str]]:
        """Those removed and those added."""
        removed, added = (frozenset(e.path for e in files) for files in (self.removed, self.added))
        return removed, added


@dataclass(frozen=True, slots=True)
class KeyedFile:
    """A data file, and for the key of each of its rows the version of the object it is of."""

    file: DataFile
    object_versions: Mapping[str, str]


def write(folder: str, table: pa.Table, *, path: str | None = None) -> DataFile:
    """Write ``table`` (at least one row, a ``key`` column) as one Parquet file in ``folder``.

    ``path`` is its name there, by default a new one. Features are noise to a codec: no dictionary, no
    compression, statistics for the key only; this reads three times as fast and is hardly larger.
    """
    name = path or new_name()
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=[KEY],
        store_schema=False,
        row_group_size=GROUP_ROWS,
    )
    body = buffer.getvalue()
    objects.put(f"{folder}/{name}", body)
    bounds = pc.min_max(table[KEY])
    return DataFile(name, len(body), len(table), bounds["min"].as_py(), bounds["max"].as_py())


def new_name() -> str:
    """A name never used before."""
    return f"part-{uuid.uuid4().hex}.parquet"


def is_name(path: str) -> bool:
    """Whether :func:`write` could have chosen this relative path, perhaps in a folder."""
    return _NAME.fullmatch(path) is not None


def read(folder: str, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of one data file, by default all. Memory: the file and the columns.

    Raises FileNotFoundError.
    """
    return without_views(_open(folder, path).read(columns=columns))


def without_views(table: pa.Table) -> pa.Table:
    """The same with plain strings: of other writers' files (delta-rs' own MERGE) views are read.

    pyarrow can neither filter nor sort those yet.
    """
    return table.cast(
        pa.schema(
            [
                field.with_type(pa.string()) if field.type == pa.string_view() else field
                for field in table.schema
            ]
        )
    )


def batches(folder: str, path: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Columns of one data file, in batches of at most ``rows`` rows. Raises FileNotFoundError."""
    yield from _open(folder, path).iter_batches(batch_size=rows, columns=columns)


def features_in(batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
    """The features of a batch as float32 (rows, columns), without a copy.

    Raises ValueError if they are of unequal length.
    """
    lists = batch["features"]
    lengths = pc.min_max(pc.list_value_length(lists))
    if lengths["min"] != lengths["max"]:
        raise ValueError(f"features of unequal length in a batch of {len(batch)} rows")
    flat: npt.NDArray[np.float32] = lists.flatten().to_numpy()
    return flat.reshape(len(batch), -1)


def merge(
    folder: str, paths: Sequence[str], schema: pa.Schema, cuts: Sequence[str] = ()
) -> list[DataFile]:
    """Write the rows of all ``paths``, in the order of their keys, as files of ``schema``.

    They have TARGET_BYTES at most, and end before a key of ``cuts`` (sorted) where they have at least
    LEAST_BYTES. Memory: twice the bytes of ``paths``, and three files.
    """
    rows = pa.concat_tables([read(folder, path).cast(schema) for path in paths]).combine_chunks()
    order = pc.sort_indices(rows[KEY])
    keys = rows[KEY].take(order).to_pylist()
    places = [bisect.bisect_left(keys, cut) for cut in cuts]
    return [
        write(folder, rows.take(order.slice(start, end - start)))
        for start, end in pairwise((0, *ends(places, len(keys), rows.nbytes / max(1, len(keys)))))
    ]


def ends(cuts: Sequence[int], rows: int, row_bytes: float) -> list[int]:
    """Where files end, as numbers of rows; see :func:`merge`. ``cuts``: rows before which one should."""
    found, start = [], 0
    for end in [*cuts, rows]:
        size = (end - start) * row_bytes
        if size >= LEAST_BYTES or end == rows > start:
            files = math.ceil(size / TARGET_BYTES)
            found += [start + (end - start) * number // files for number in range(1, files + 1)]
            start = end
    return found


def without(folder: str, path: str, keys: frozenset[str]) -> DataFile | None:
    """Write a copy of a file without the rows of ``keys``; None, and no file, if no row is left."""
    table = read(folder, path)
    kept = table.filter(pc.invert(pc.is_in(table[KEY], pa.array(sorted(keys), pa.string()))))
    return write(folder, kept) if len(kept) else None


def _open(folder: str, path: str) -> pq.ParquetFile:
    if not folder.startswith("s3://"):
        return pq.ParquetFile(Path(folder, path), memory_map=True)
    body = objects.get(f"{folder}/{path}")
    if body is None:
        raise FileNotFoundError(f"{folder}/{path}")
    return pq.ParquetFile(pa.BufferReader(body))
