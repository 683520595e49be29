"""Eight services on one store, all of which commit at once: nothing is lost, nothing is twice."""

import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common.layout import BucketLayout, StoreLayout
from ingest.events import ObjectEvent
from processor.pipeline import feature_store
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.handled import Handled
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.store import datafiles, delta
from tests.support.feature_files import NOON, features_table

WRITERS, BATCHES = 8, 4
SHARED = [f"photos/shared/{number}.jpg" for number in range(6)]  # overwritten by all of them


@dataclass
class Bucket:
    """What S3 has now: the version under each key. Changes are announced to whoever makes them."""

    versions: dict[str, str] = field(default_factory=dict)
    clock: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, key: str) -> ObjectEvent:
        with self.lock:
            self.clock[key] += 1
            version = self.versions[key] = str(self.clock[key])
        return ObjectEvent("bucket", key, None, version, 9, "ObjectCreated:Put", NOON, None)

    def remove(self, key: str) -> ObjectEvent:
        with self.lock:
            self.versions.pop(key, None)
        return ObjectEvent("bucket", key, None, None, None, "ObjectRemoved:Delete", NOON, None)

    def version(self, _: str, key: str) -> str | None:
        return self.versions.get(key)


class Service:
    """One of them, without Spark and network; ``compute`` is called between reading and committing."""

    def __init__(
        self, bucket: Bucket, folder: Path, name: str, compute: Callable[[], object]
    ) -> None:
        self.bucket = bucket
        self.name = name
        self.compute = compute
        self.layout = StoreLayout(f"{folder}/")
        store = FeatureStore.open(self.layout, "network", folder / name)
        self.batches = MicroBatches(
            store, BucketLayout("bucket"), self.extract, current_version=bucket.version
        )

    def extract(self, works: Sequence[Work]) -> list[Extracted]:
        outcomes = [self.outcome(work) for work in works]
        self.compute()
        stored = [each for each in outcomes if each.kind is Kind.STORED]
        table = features_table(np.ones((len(stored), 4), np.float32))
        for name, values in (
            ("key", [each.key for each in stored]),
            ("version", [each.object_version for each in stored]),
        ):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(at), pa.array(values, pa.string()))
        file = datafiles.write(self.layout.features, table) if stored else None
        return [Extracted(file, tuple(outcomes))]

    def outcome(self, work: Work) -> Outcome:
        version = self.bucket.version("bucket", work.key)
        if version is None:
            return Outcome(work.key, Kind.GONE)
        kind = Kind.UNCHANGED if version == work.stored_version else Kind.STORED
        return Outcome(work.key, kind, version)

    def run(self, batches: int) -> list[Handled]:
        chosen = random.Random(self.name)
        done = []
        for number in range(batches):
            events = [self.bucket.put(f"photos/{self.name}/{number}-{n}.jpg") for n in range(3)]
            for key in chosen.sample(SHARED, 4):
                remove = chosen.random() < 0.3
                events.append(self.bucket.remove(key) if remove else self.bucket.put(key))
            done.append(self.batches.handle(events, number))
        self.batches.close()
        return done


def all_at_once(folder: Path) -> tuple[Bucket, list[Handled]]:
    """All but the first run through; that one commits what it read before the others began."""
    bucket, begin, ended = Bucket(), threading.Barrier(WRITERS), threading.Semaphore(0)
    reads = iter([begin.wait])

    def late() -> None:
        for have_the_others_begin in reads:  # the first time only
            have_the_others_begin()
            assert all(ended.acquire(timeout=60) for _ in range(WRITERS - 1))

    def run(number: int) -> list[Handled]:
        if number == 0:
            return Service(bucket, folder, "late", late).run(1)
        begin.wait()
        pause = functools.partial(time.sleep, number / 500)
        try:
            return Service(bucket, folder, f"service-{number}", pause).run(BATCHES)
        finally:
            ended.release()

    with ThreadPoolExecutor(WRITERS) as pool:
        return bucket, [each for done in pool.map(run, range(WRITERS)) for each in done]


def rows(folder: Path) -> list[tuple[str, str]]:
    table = delta.open_table(StoreLayout(f"{folder}/").features)
    assert table
    found = table.dataset().to_table(columns=["key", "version"]).to_pylist()
    return sorted((row["key"], row["version"]) for row in found)


def test_eight_services_that_commit_at_once(tmp_path: Path) -> None:
    bucket, done = all_at_once(tmp_path)
    assert rows(tmp_path) == sorted(bucket.versions.items())
    assert len(done) == (WRITERS - 1) * BATCHES + 1
    assert sum(each.conflicts for each in done) > WRITERS  # otherwise this has tested nothing


def test_that_test_sees_rows_of_old_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another look at S3 the late service commits the versions that it read at first."""
    monkeypatch.setattr(feature_store, "_checked", lambda *_: (set(), set()))
    bucket, _ = all_at_once(tmp_path)
    assert rows(tmp_path) != sorted(bucket.versions.items())
