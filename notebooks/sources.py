"""Data sources of Spark's that read a bucket's photos and tables without jars.

Spark's own ``binaryFile`` and Delta's reader need jars that know S3 and Delta, from Maven. These are
Python: the driver lists what there is, each task reads its part with the service's own functions.
Credentials, region and endpoint come from the standard AWS chain, on the driver and in the tasks.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from common import aws
from common.layout import split
from processor.errors import PhotoError
from processor.photos import objects
from processor.photos.listing import Listing
from processor.store import datafiles, delta, schema

READ_ROWS = 2048
MOST_LISTED = 20_000  # photos; a listing of a million takes minutes
READ_PHOTOS, LISTED_PHOTOS = 4, 2000  # of a task, with their bytes and without
MAX_BYTES = 50_000_000
HADOOP = "3.5.0"  # of the jars in Spark 4.3, which hadoop-aws has to match

PHOTOS = {"path": "string", "modificationTime": "timestamp", "length": "long", "content": "binary"}


def photos(
    spark: SparkSession,
    folder: str,
    columns: Sequence[str],
    *,
    keys: Sequence[str] = (),
    s3a: bool = False,
) -> DataFrame:
    """Columns of the photos under ``folder``, ``bucket/prefix``; or of those with ``keys`` alone.

    The columns are those of Spark's ``binaryFile``, which reads them where ``s3a`` is true: the session
    then needs the settings of :func:`s3a_settings`. Otherwise :class:`Photos` does.
    """
    bucket = folder.partition("/")[0]
    if s3a:
        reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        paths = [f"s3a://{bucket}/{key}" for key in keys] or [f"s3a://{folder}"]
        return reader.load(paths).select(*columns)
    reader = spark.read.format(Photos.name()).option("path", f"s3://{folder}")
    if keys:
        reader = reader.option("keys", json.dumps(list(keys)))
    return reader.schema(", ".join(f"{name} {PHOTOS[name]}" for name in columns)).load()


class Photos(DataSource):
    """``format("photos")``: objects with the columns of ``binaryFile``, and only those of the schema.

    They are the first MOST_LISTED under ``path``, ``s3://bucket/prefix``, or those of the option
    ``keys`` (JSON). Objects are read only if ``content`` is in the schema. It is null where the object
    is gone, cannot be read, or has more than MAX_BYTES; so are times and sizes that no listing gave.
    """

    @classmethod
    def name(cls) -> str:
        return "photos"

    def schema(self) -> str:
        return ", ".join(f"{name} {kind}" for name, kind in PHOTOS.items())

    def reader(self, schema: StructType) -> DataSourceReader:
        keys = json.loads(self.options.get("keys", "null"))
        return _PhotoReader(self.options["path"], schema.names, keys)


class _Photo(NamedTuple):
    key: str
    modified: datetime | None = None
    bytes: int | None = None


class _PhotoReader(DataSourceReader):
    def __init__(self, folder: str, columns: Sequence[str], keys: Sequence[str] | None) -> None:
        self._bucket, self._prefix = split(folder)
        self._columns = columns
        self._keys = keys

    def partitions(self) -> Sequence[InputPartition]:
        if self._keys is None:
            found = _listed(Listing(self._bucket, self._prefix))
        else:
            found = [_Photo(key) for key in self._keys]
        size = READ_PHOTOS if "content" in self._columns else LISTED_PHOTOS
        return [InputPartition(found[at : at + size]) for at in range(0, len(found), size)]

    def read(self, partition: InputPartition) -> Iterator[tuple[object, ...]]:
        for photo in partition.value or ():  # without partitions Spark makes one, of None
            content, modified, length = None, photo.modified, photo.bytes
            if "content" in self._columns:
                with suppress(PhotoError):
                    got = objects.get(self._bucket, photo.key, MAX_BYTES)
                    content, modified, length = got.data, got.modified, len(got.data)
            path = f"s3://{self._bucket}/{photo.key}"
            values = dict(zip(PHOTOS, (path, modified, length, content), strict=True))
            yield tuple(values[name] for name in self._columns)


def _listed(listing: Listing) -> list[_Photo]:
    found: list[_Photo] = []
    after: str | None = ""
    while after is not None and len(found) < MOST_LISTED:
        page = listing.page(after)
        found += [
            _Photo(each.key, each.modified, each.bytes)
            for each in page.objects
            if each.bytes or not each.key.endswith("/")
        ]
        after = page.last
    return found[:MOST_LISTED]


class Table(DataSource):
    """``format("table")``: a Delta table of the store, like ``s3://bucket/features``.

    Only the columns of the schema are read, by default all. A task reads one data file. A table that
    does not exist yet has no rows.
    """

    @classmethod
    def name(cls) -> str:
        return "table"

    def schema(self) -> StructType:
        opened = delta.open_table(self.options["path"])
        columns = opened.columns if opened else schema.REJECTS
        return from_arrow_schema(columns, prefer_timestamp_ntz=False)

    def reader(self, schema: StructType) -> DataSourceReader:
        return _TableReader(self.options["path"], schema)


class _TableReader(DataSourceReader):
    def __init__(self, folder: str, columns: StructType) -> None:
        self._folder = folder
        self._columns = columns

    def partitions(self) -> Sequence[InputPartition]:
        opened = delta.open_table(self._folder)
        return [InputPartition(path) for path in sorted(opened.paths())] if opened else []

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        if partition.value is None:
            return
        wanted = to_arrow_schema(self._columns, timezone="UTC")
        names = wanted.names
        for batch in datafiles.batches(self._folder, partition.value, names, READ_ROWS):
            rows = datafiles.without_views(pa.Table.from_batches([batch.select(names)]))
            yield from rows.cast(wanted).to_batches()


@contextmanager
def stderr_to(file: Path) -> Iterator[None]:
    """Processes that are started meanwhile write what they have for stderr to a file.

    Spark's write much there that is no error, and a notebook would show all of it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    before = os.dup(2)
    with file.open("ab") as opened:
        os.dup2(opened.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def s3a_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Settings of a session that let Spark's own readers read ``s3a://`` URIs.

    Spark downloads the jars from Maven Central when it starts.
    """
    settings = {"spark.jars.packages": f"org.apache.hadoop:hadoop-aws:{HADOOP}"}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        settings |= {
            "spark.hadoop.fs.s3a.endpoint": endpoint,
            "spark.hadoop.fs.s3a.path.style.access": "true",
        }
    if region := aws.region():
        settings["spark.hadoop.fs.s3a.endpoint.region"] = region
    return settings
