"""The map's file: the points as Parquet, for everybody's tools.

DuckDB, Polars, pandas and embedding-atlas open it as it is. ``neighbours`` has the form in which
embedding-atlas takes neighbours: numbers of rows, from 0, and distances (1 - cosine). ``thumbnail`` is a
data URL, which it and every browser show.
"""

import base64
import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from processor.report.points import Points

TYPE = "application/vnd.apache.parquet"
GROUP_ROWS = 8192
_URL = "data:image/webp;base64,"

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("pc1", pa.float32(), nullable=False),
        pa.field("pc2", pa.float32(), nullable=False),
        pa.field(
            "neighbours",
            pa.struct([("ids", pa.list_(pa.int32())), ("distances", pa.list_(pa.float32()))]),
            nullable=False,
        ),
        pa.field("thumbnail", pa.string()),
    ]
)


def encoded(points: Points, versions: list[str], about: Mapping[str, str]) -> bytes:
    """The file; ``about`` becomes its metadata, beside what the sample is of.

    The order of the rows is that of the points: ``neighbours.ids`` refer to it.
    """
    table = pa.table(
        {
            "key": points.keys,
            "version": versions,
            "label": [label or None for label in points.labels],
            "pc1": points.xy[:, 0],
            "pc2": points.xy[:, 1],
            "neighbours": _neighbours(points),
            "thumbnail": pa.array(map(_url, points.thumbnails), pa.string()),
        },
        schema=SCHEMA,
    )
    count = len(points.keys)
    rule = f"the {count} of {points.population} photos whose keys have the lowest BLAKE2b hashes"
    metadata = {
        **about,
        "population": str(points.population),
        "sample": "all photos" if count == points.population else rule,
    }
    file = io.BytesIO()
    with pq.ParquetWriter(file, SCHEMA, compression="zstd", store_schema=False) as writer:
        writer.write_table(table, row_group_size=GROUP_ROWS)
        writer.add_key_value_metadata(metadata)
    return file.getvalue()


def thumbnails(file: bytes) -> dict[tuple[str, str], bytes]:
    """The thumbnails in a file, by key and version. Raises ValueError if it is not one of ours."""
    try:
        table = pq.read_table(pa.BufferReader(file), columns=["key", "version", "thumbnail"])
    except (pa.ArrowException, OSError) as error:  # OSError: a damaged page
        raise ValueError(str(error)) from error
    if table.column_names != ["key", "version", "thumbnail"]:
        raise ValueError(f"it has the columns {table.column_names}")
    return {
        (row["key"], row["version"]): base64.b64decode(row["thumbnail"].removeprefix(_URL))
        for batch in table.to_batches(GROUP_ROWS)
        for row in batch.to_pylist()
        if row["thumbnail"] and row["thumbnail"].startswith(_URL)
    }


def _url(thumbnail: bytes) -> str | None:
    return _URL + base64.b64encode(thumbnail).decode() if thumbnail else None


def _neighbours(points: Points) -> pa.StructArray:
    there = points.neighbours >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    ids = pa.ListArray.from_arrays(offsets, points.neighbours[there])
    distances = pa.ListArray.from_arrays(offsets, 1 - points.cosines[there])
    return pa.StructArray.from_arrays([ids, distances], ["ids", "distances"])
