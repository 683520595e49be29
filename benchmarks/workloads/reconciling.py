"""Bucket and store compared, by the service's reconciliation and by its peers.

``python -m benchmarks.workloads.reconciling KIND [QUEUE_URL]`` does it once for the bucket of
:mod:`benchmarks.workloads.full_bucket`, where KIND is ``listing`` (only lists the bucket), ``memory``
(keeps the keys of both in dictionaries) or ``reconciliation``, and prints a :class:`Run`. KIND ``fill``,
followed by the number of objects, makes the store.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.harness.protocol import answer
from benchmarks.harness.usage import peak_rss
from benchmarks.workloads import drawn_features
from benchmarks.workloads.full_bucket import BUCKET, ETAG, key
from common import aws
from common.layout import BucketLayout
from ingest.queue import Queue, connect
from processor.pipeline.comparison import Scope
from processor.pipeline.reconciliation import Reconciliation
from processor.store import datafiles, delta
from processor.store.schema import FEATURES

LAYOUT = BucketLayout(BUCKET)
EVERY = 1000  # of so many objects one has no row, one another's; of so many rows one has no object
FILE_ROWS = 4096  # 8 MB: what compaction makes


@dataclass(frozen=True, slots=True)
class Run:
    """``rss``: the process's peak memory in bytes, with the libraries; ``found``: differences."""

    seconds: float
    cpu: float
    rss: int
    objects: int
    found: int


def fill(objects: int) -> None:
    """A store with a row for most objects, and some for none."""
    folder = LAYOUT.store.features
    table = delta.create_table(folder, FEATURES, "drawn")
    numbers = [n for n in range(objects + objects // EVERY) if n % EVERY]
    added = []
    for at in range(0, len(numbers), FILE_ROWS):
        some = numbers[at : at + FILE_ROWS]
        rows = drawn_features.table(np.zeros((len(some), drawn_features.COLUMNS), np.float32), "")
        versions = ["old" if n % EVERY == 1 else ETAG for n in some]
        for name, values in (("key", [key(n) for n in some]), ("version", versions)):
            index = rows.schema.get_field_index(name)
            rows = rows.set_column(index, rows.schema.field(name), pa.array(values))
        added.append(datafiles.write(folder, rows))
    table.commit(FEATURES, added, ())


def listing() -> tuple[int, int]:
    """The bucket's objects, listed with boto3's paginator and counted."""
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="photos/")
    return sum(len(page.get("Contents", ())) for page in pages), 0


def memory() -> tuple[int, int]:
    """Both sides in dictionaries."""
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="photos/")
    there = {
        each["Key"]: each["ETag"].strip('"') for page in pages for each in page.get("Contents", ())
    }
    table = delta.open_table(LAYOUT.store.features)
    assert table is not None
    rows = table.dataset().to_table(columns=["key", "version"])
    here = dict(zip(rows["key"].to_pylist(), rows["version"].to_pylist(), strict=True))
    return len(there), len(dict(there.items() ^ here.items()))


def reconciliation(queue_url: str) -> tuple[int, int]:
    """With its events sent to the queue."""
    queue = Queue(connect(1), queue_url)
    with tempfile.TemporaryDirectory() as scratch:
        done = Reconciliation(LAYOUT, Path(scratch), queue.send_all).run(Scope(prefix="photos/"))
    return done.objects, done.found


def main(kind: str, argument: str = "") -> None:
    if kind == "fill":
        fill(int(argument))
        return
    began, used = time.monotonic(), time.process_time()
    if kind == "reconciliation":
        objects, found = reconciliation(argument)
    else:
        objects, found = memory() if kind == "memory" else listing()
    seconds, cpu = time.monotonic() - began, time.process_time() - used
    answer(Run(seconds, cpu, peak_rss(), objects, found))


if __name__ == "__main__":
    main(*sys.argv[1:])
