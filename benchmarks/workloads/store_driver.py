"""The driver of a store of drawn photos: it makes micro-batches durable as the service does.

As in ingestion the store grows by micro-batches of 2,048 photos in two files each, and small files are
merged after every 28 of them (an hour of 16 photos a second).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.harness.child import output_of
from benchmarks.workloads import drawn_features
from common.layout import StoreLayout
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.outcomes import Extracted, Kind, Outcome
from processor.store import datafiles, delta
from processor.store.schema import FEATURES

FILL, BATCH, TASKS = 2048, 256, 2  # photos of a micro-batch that fills, that is timed; its files
COMPACT_EVERY = 28  # micro-batches
REPLACED = 16  # photos, each in another file


@dataclass(frozen=True, slots=True)
class CommitCost:
    """Seconds of one micro-batch: elapsed, and processor time of the driver and of the AWS."""

    seconds: float
    driver_cpu: float
    aws_cpu: float


class StoreDriver:
    """Of one store, in the AWS that runs as the process ``aws_pid``."""

    def __init__(self, uri: str, work_dir: Path, aws_pid: int) -> None:
        self._uri = uri
        self._store = FeatureStore.open(StoreLayout(uri), drawn_features.MODEL, work_dir)
        self._aws = psutil.Process(aws_pid)
        self._photos = _photos()

    @property
    def features_folder(self) -> str:
        return self._store.features.folder

    def fill(self, missing: range) -> None:
        """Add the rows with these numbers."""
        for number, start in enumerate(missing[::FILL], start=1):
            self._settle(self._extract(min(FILL, missing.stop - start)))
            if (
                number % COMPACT_EVERY == 0
            ):  # in a process of its own: its memory is not the driver's
                output_of("benchmarks.workloads.compact", self._uri)

    def commit(self) -> CommitCost:
        """Make a micro-batch of new photos durable, whose files exist already."""
        extracted = self._extract(BATCH)
        aws, own = sum(self._aws.cpu_times()[:2]), time.process_time()
        seconds = self._settle(extracted)
        own = time.process_time() - own
        return CommitCost(seconds, own, sum(self._aws.cpu_times()[:2]) - aws)

    def replace(self, seed: int) -> float:
        """The seconds of a micro-batch of photos scattered over the table, with new content."""
        paths = sorted(self.files())
        count = min(REPLACED, len(paths))
        chosen = np.random.default_rng(seed).choice(len(paths), count, replace=False)
        rows = [
            datafiles.read(self.features_folder, paths[path]).slice(0, 1).to_pylist()[0]
            for path in chosen
        ]
        for row in rows:
            row["version"] = f"again-{seed}"
        return self._settle([self._write(pa.Table.from_pylist(rows, schema=FEATURES))])

    def files(self) -> set[str]:
        """The data files of the newest version."""
        table = delta.open_table(self.features_folder)
        return table.paths() if table else set()

    def refresh(self) -> int:
        """Read what others have committed; the version of the table."""
        self._store.features.refresh()
        return self._store.features.table_version

    def _settle(self, results: list[Extracted]) -> float:
        """Seconds from planning the micro-batch to its durable outcome."""
        began = time.perf_counter()
        features = self._store.features
        features.refresh()
        keys = [each.key for result in results for each in result.outcomes]
        features.find(keys)
        waiting = self._store.pending.rows(keys)
        self._store.settle(results, features.table_version, lambda _: True, {"batch": 0}, waiting)
        return time.perf_counter() - began

    def _extract(self, count: int) -> list[Extracted]:
        """What the tasks of a micro-batch of new photos leave: a file each."""
        rows = next(self._photos).slice(0, count)
        share = -(-count // TASKS)
        return [self._write(rows.slice(start, share)) for start in range(0, count, share)]

    def _write(self, rows: pa.Table) -> Extracted:
        file = datafiles.write(self.features_folder, rows)
        stored = zip(rows["key"].to_pylist(), rows["version"].to_pylist(), strict=True)
        return Extracted(file, tuple(Outcome(key, Kind.STORED, version) for key, version in stored))


def _photos() -> Iterator[pa.Table]:
    """Rows without end, FILL at a time."""
    for number, block in enumerate(drawn_features.drawn(1 << 40, 0, FILL)):
        yield drawn_features.table(block, f"{number:07}")
