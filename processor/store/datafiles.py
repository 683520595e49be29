"""Data files: the Parquet objects of a table, written and read by Spark tasks, committed by the driver.

A table's folder is a URI, ``s3://bucket/prefix``, or a local path in benchmarks. A file is written whole
under a name that nobody has used before, so a task that dies leaves at most litter, never half a file.
"""

import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from processor.store import objects

KEY = "key"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that lies in a table's folder and waits to be committed.

    ``path`` is relative to the folder, ``size`` in bytes; ``first_key`` and ``last_key`` bound the
    keys in it, for readers that skip files.
    """

    path: str
    size: int
    rows: int
    first_key: str
    last_key: str


@dataclass(frozen=True, slots=True)
class KeyedFile:
    """A data file with the version of each object that has a row in it, by key."""

    file: DataFile
    object_versions: Mapping[str, str]


def write(folder: str, table: pa.Table, *, path: str | None = None) -> DataFile:
    """Write ``table`` (at least one row, a ``key`` column) as one Parquet file in ``folder``.

    Features are noise to a codec: no dictionary, no compression, statistics of the key only; this
    reads three times as fast and is hardly larger.
    """
    name = path or f"part-{uuid.uuid4().hex}.parquet"
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=[KEY],
        store_schema=False,
    )
    body = buffer.getvalue()
    objects.put(f"{folder}/{name}", body)
    bounds = pc.min_max(table[KEY])
    return DataFile(name, len(body), len(table), bounds["min"].as_py(), bounds["max"].as_py())


def read(folder: str, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of one data file. Memory: the file and the columns."""
    table = _open(folder, path).read(columns=columns)
    # Files of other writers (delta-rs' own MERGE) ask to be read as string views, which pyarrow
    # cannot filter yet.
    return table.cast(
        pa.schema(
            [
                field.with_type(pa.string()) if field.type == pa.string_view() else field
                for field in table.schema
            ]
        )
    )


def batches(folder: str, path: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    """The same in batches of at most ``rows``."""
    yield from _open(folder, path).iter_batches(batch_size=rows, columns=columns)


def merge(folder: str, paths: Sequence[str], schema: pa.Schema) -> DataFile:
    """Write one file of ``schema`` with the rows of several. Memory: twice their bytes."""
    return write(folder, pa.concat_tables([read(folder, path).cast(schema) for path in paths]))


def without(folder: str, path: str, keys: frozenset[str]) -> DataFile | None:
    """Write a copy of a file without the rows of ``keys``; None when no row would be left."""
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
