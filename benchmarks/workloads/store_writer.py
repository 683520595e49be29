"""One of several writers of a store: micro-batches as the service settles them, without the network.

``python -m benchmarks.workloads.store_writer write BUCKET WORK_DIR NAME BATCHES PACE START`` opens the
store in BUCKET, waits for the file START, and makes a micro-batch durable every PACE seconds. Its photos
are new, but for those that it has just overwritten in S3 and that other writers overwrite, too. Prints a
:class:`Writer`.

``… store_writer check BUCKET`` prints what is :class:`Found` in the store in the end.
"""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from benchmarks.harness.protocol import answer, claim_stdout, wait_for_start
from benchmarks.workloads import drawn_features
from common import aws
from common.layout import BucketLayout
from ingest.events import ObjectEvent
from processor.photos import objects
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.store import datafiles, delta
from processor.store import objects as store_objects
from processor.store.schema import FEATURES

NEW, SHARED = 128, 4  # photos of a micro-batch: new ones, and overwritten ones
KEYS = 64  # that all writers overwrite
SHARED_PREFIX = "photos/shared/"


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch; ``seconds`` from its events to its durable outcomes."""

    seconds: float
    conflicts: int
    conflict_seconds: float
    again: int


@dataclass(frozen=True, slots=True)
class Writer:
    """``seconds`` from the start of all writers to this one's last outcome."""

    seconds: float
    batches: list[Batch]


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the store: ``outdated`` rows are not of the version that S3 has.

    ``vain`` are data files that no commit has named.
    """

    rows: int
    keys: int
    outdated: int
    files: int
    vain: int


class _Photos:
    """The photos of one writer: events, what S3 says of them now, their drawn features."""

    def __init__(self, layout: BucketLayout, name: str) -> None:
        self._layout = layout
        self._name = name
        self._random = random.Random(name)
        self._rows = drawn_features.table(next(drawn_features.drawn(NEW + SHARED)), "drawn")
        self._s3 = aws.s3()

    def events(self, number: int) -> list[ObjectEvent]:
        """Those of one micro-batch, with its shared photos overwritten."""
        keys = [f"photos/{self._name}/{number:05}-{photo:03}.jpg" for photo in range(NEW)]
        events = [self._event(key, key) for key in keys]
        for photo in self._random.sample(range(KEYS), SHARED):
            key = f"{SHARED_PREFIX}{photo:03}.jpg"
            put = self._s3.put_object(
                Bucket=self._layout.bucket, Key=key, Body=self._random.randbytes(64)
            )
            events.append(self._event(key, put["ETag"].strip('"')))
        return events

    def current_version(self, bucket: str, key: str) -> str | None:
        """Only the shared ones are in S3: a new photo's version is its key."""
        return objects.current_version(bucket, key) if key.startswith(SHARED_PREFIX) else key

    def extract(self, works: Sequence[Work]) -> list[Extracted]:
        """In two tasks."""
        half = -(-len(works) // 2)
        return [self._extracted(works[at : at + half]) for at in range(0, len(works), half)]

    def _extracted(self, works: Sequence[Work]) -> Extracted:
        outcomes = tuple(map(self._outcome, works))
        stored = [each for each in outcomes if each.kind is Kind.STORED]
        if not stored:
            return Extracted(None, outcomes)
        columns = {name: self._rows[name][: len(stored)] for name in FEATURES.names}
        columns["key"] = pa.array([each.key for each in stored])
        columns["version"] = pa.array([each.object_version for each in stored])
        rows = pa.table(columns, schema=FEATURES)
        return Extracted(datafiles.write(self._layout.store.features, rows), outcomes)

    def _outcome(self, work: Work) -> Outcome:
        version = self.current_version(self._layout.bucket, work.key) or ""
        kind = Kind.UNCHANGED if version == work.stored_version else Kind.STORED
        return Outcome(work.key, kind, version)

    def _event(self, key: str, version: str) -> ObjectEvent:
        now = datetime.now(UTC)
        return ObjectEvent(
            self._layout.bucket, key, None, version, 64, "ObjectCreated:Put", now, None
        )


def _batches(
    service: MicroBatches, photos: _Photos, count: int, pace: float, start: float
) -> Iterator[Batch]:
    spread = random.Random()
    due = start + spread.uniform(0, pace)
    for number in range(count):
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + pace * spread.uniform(0.8, 1.2), time.monotonic())
        done = service.handle(photos.events(number), number)
        yield Batch(done.seconds, done.conflicts, done.conflict_seconds, done.again)


def write(bucket: str, work_dir: str, name: str, count: str, pace: str, start: str) -> None:
    answers = claim_stdout()
    layout = BucketLayout(bucket)
    store = FeatureStore.open(layout.store, drawn_features.MODEL, Path(work_dir))
    photos = _Photos(layout, name)
    service = MicroBatches(store, layout, photos.extract, photos.current_version)
    wait_for_start(Path(start), answers)
    began = time.monotonic()
    batches = list(_batches(service, photos, int(count), float(pace), began))
    answer(Writer(time.monotonic() - began, batches), answers)


def check(bucket: str) -> None:
    features = BucketLayout(bucket).store.features
    table = delta.open_table(features)
    assert table is not None
    rows = table.dataset().to_table(columns=["key", "version"]).to_pylist()
    here = {row["key"]: row["version"] for row in rows if row["key"].startswith(SHARED_PREFIX)}
    listed = aws.s3().list_objects_v2(Bucket=bucket, Prefix=SHARED_PREFIX)["Contents"]
    there = {each["Key"]: each["ETag"].strip('"') for each in listed}
    entries = b"".join(
        store_objects.get(table.log_entry(version)) or b""
        for version in range(table.table_version + 1)
    )
    written = [each.uri for each in store_objects.listing(features) if each.uri.endswith("parquet")]
    vain = [uri for uri in written if uri.rpartition("/")[2].encode() not in entries]
    outdated = len(here.items() ^ there.items())
    keys = len({row["key"] for row in rows})
    answer(Found(len(rows), keys, outdated, len(written), len(vain)))


if __name__ == "__main__":
    write(*sys.argv[2:]) if sys.argv[1] == "write" else check(*sys.argv[2:])
