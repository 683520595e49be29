"""Data files: the Parquet objects of a table, written and read by Spark tasks, named by the driver.

A table's folder is a URI, ``s3://bucket/prefix`` or a local path (benchmarks). A file is written
whole under a name nobody used before, so a task that dies leaves at most litter, never half a file.
"""

import functools
import io
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.config import Config
from botocore.exceptions import ClientError

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


@functools.cache
def s3(connections: int = 32) -> Any:
    """One S3 client per process, from the standard AWS chain, for use by many threads."""
    return boto3.client(
        "s3",
        config=Config(
            max_pool_connections=connections,
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 5},
        ),
    )


def split(uri: str) -> tuple[str, str]:
    """``s3://bucket/a/b`` as (``bucket``, ``a/b``)."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, prefix


def write(folder: str, table: pa.Table, *, path: str | None = None) -> DataFile:
    """Write ``table`` (at least one row, a ``key`` column) as one Parquet file in ``folder``.

    Features are noise to a codec: no dictionary, no compression, statistics for the key only; this
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
    put(f"{folder}/{name}", body)
    bounds = pc.min_max(table[KEY])
    return DataFile(name, len(body), len(table), bounds["min"].as_py(), bounds["max"].as_py())


def read(folder: str, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of one data file; memory: the file plus the columns."""
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
    return _open(folder, path).iter_batches(batch_size=rows, columns=columns)


def merged(folder: str, paths: Sequence[str], schema: pa.Schema) -> DataFile:
    """One file of ``schema`` with the rows of several; memory: twice their bytes."""
    return write(folder, pa.concat_tables([read(folder, path).cast(schema) for path in paths]))


def without(folder: str, path: str, keys: frozenset[str]) -> DataFile | None:
    """A copy of a file without the rows of ``keys``; None when no row would be left."""
    table = read(folder, path)
    kept = table.filter(pc.invert(pc.is_in(table[KEY], pa.array(sorted(keys), pa.string()))))
    return write(folder, kept) if len(kept) else None


def get(uri: str) -> bytes | None:
    """The bytes of one object; None if there is none."""
    if not uri.startswith("s3://"):
        return Path(uri).read_bytes() if Path(uri).exists() else None
    bucket, key = split(uri)
    try:
        return s3().get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise


def put(uri: str, body: bytes) -> None:
    """Write one object whole."""
    if uri.startswith("s3://"):
        bucket, key = split(uri)
        s3().put_object(Bucket=bucket, Key=key, Body=body)
        return
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    Path(uri).write_bytes(body)


def upload(uri: str, local: Path, about: Mapping[str, str]) -> None:
    """Replace one object by a CSV file of any size; readers find the old or the new one, whole.

    ``about`` becomes the object's metadata (not on a local disk).
    """
    if not uri.startswith("s3://"):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(local, uri)
        return
    bucket, key = split(uri)
    extra = {"ContentType": "text/csv; charset=utf-8", "Metadata": dict(about)}
    s3().upload_file(str(local), bucket, key, ExtraArgs=extra)


def about(uri: str) -> dict[str, str]:
    """What :func:`upload` was told about an object; nothing if there is none."""
    return (_head(uri) or {}).get("Metadata", {}) if uri.startswith("s3://") else {}


def exists(uri: str) -> bool:
    """Whether there is such an object."""
    return _head(uri) is not None if uri.startswith("s3://") else Path(uri).exists()


def _head(uri: str) -> dict[str, Any] | None:
    bucket, key = split(uri)
    try:
        return s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


def _open(folder: str, path: str) -> pq.ParquetFile:
    if not folder.startswith("s3://"):
        return pq.ParquetFile(Path(folder, path), memory_map=True)
    body = get(f"{folder}/{path}")
    if body is None:
        raise FileNotFoundError(f"{folder}/{path}")
    return pq.ParquetFile(pa.BufferReader(body))
