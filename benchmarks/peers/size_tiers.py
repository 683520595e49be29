"""Compaction by size alone: eight files of similar size become one, in the order in which rows came.

What this project did before it ordered rows by key, and what most people write. A peer in `compaction`:
``python -m benchmarks.peers.size_tiers URI`` prints what :mod:`benchmarks.workloads.compact` does.
"""

import io
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.workloads.compact import report
from common.layout import StoreLayout
from processor.store import datafiles, delta, objects
from processor.store.datafiles import KEY, DataFile
from processor.store.schema import FEATURES

MOST_BYTES = 64 << 20
AT_ONCE = 8


def main(uri: str) -> None:
    folder = StoreLayout(uri).features
    table = delta.open_table(folder)
    assert table is not None
    merged = 0
    for group in list(_groups(table.files())):
        paths = [file.path for file in group]
        rows = pa.concat_tables([datafiles.read(folder, path).cast(FEATURES) for path in paths])
        table.commit(FEATURES, [_write(folder, rows)], paths, data_change=False)
        merged += sum(file.size for file in group)
    report(merged)


def _groups(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    tiers: dict[int, list[DataFile]] = defaultdict(list)
    for file in files:
        if file.size * AT_ONCE <= MOST_BYTES:
            tiers[int(math.log(file.size, AT_ONCE))].append(file)
    for tier in tiers.values():
        for start in range(0, len(tier) - AT_ONCE + 1, AT_ONCE):
            yield tier[start : start + AT_ONCE]


def _write(folder: str, rows: pa.Table) -> DataFile:
    """As :func:`.datafiles.write`, but with one row group."""
    path, buffer = datafiles.new_name(), io.BytesIO()
    pq.write_table(
        rows,
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=[KEY],
        store_schema=False,
    )
    body = buffer.getvalue()
    objects.put(f"{folder}/{path}", body)
    bounds = pc.min_max(rows[KEY])
    return DataFile(path, len(body), len(rows), bounds["min"].as_py(), bounds["max"].as_py())


if __name__ == "__main__":
    main(*sys.argv[1:])
