"""The world of a micro-batch: a bucket, the events that it sends, services that handle them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import boto3

from common.layout import BucketLayout
from ingest.events import ObjectEvent, parse
from processor.network.spec import NetworkSpec
from processor.photos.memory import MemoryBudget
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Work
from processor.pipeline.retries import Retries
from processor.pipeline.tasks import Recipe, extract
from processor.store import delta

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that advances by a second at each reading."""

    steps: int = field(default=0)

    def next(self) -> datetime:
        self.steps += 1
        return datetime.fromtimestamp(NOON.timestamp() + self.steps, UTC)


class World:
    """Without streaming: the order, repetition and delay of events are chosen by the test."""

    def __init__(self, bucket: str, spec: NetworkSpec, folder: Path) -> None:
        self.bucket = bucket
        self.s3 = boto3.client("s3")
        self.clock = Clock()
        self.folder = folder
        self.computed: list[str] = []
        self.batches = 0
        self.recipe = Recipe(
            layout=BucketLayout(bucket),
            network=spec,
            downloads=4,
            max_bytes=1_000_000,
            max_pixels=1_000_000,
            reduced_decode=True,
            memory=MemoryBudget(1 << 30, folder / "memory"),
        )
        self.services = [self.service("0")]

    def service(
        self, name: str, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[FeatureStore, MicroBatches]:
        """A service with its own index; ``meanwhile`` is called before it commits each batch."""
        store = FeatureStore.open(
            self.recipe.layout.store, self.recipe.network.model_id, self.folder / name
        )

        def work(works: Sequence[Work]) -> list[Extracted]:
            result = extract(works, self.recipe)
            self.computed += result.stored()
            meanwhile()
            return [result]

        return store, MicroBatches(store, self.recipe.layout, work)

    def handle(self, *events: ObjectEvent, by: int = 0) -> None:
        self.batches += 1
        self.services[by][1].handle(events, self.batches)

    def put(self, key: str, data: bytes) -> ObjectEvent:
        answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        return self.event(key, "ObjectCreated:Put", answer["ETag"].strip('"'), len(data))

    def remove(self, key: str) -> ObjectEvent:
        self.s3.delete_object(Bucket=self.bucket, Key=key)
        return self.event(key, "ObjectRemoved:Delete", None, None)

    def event(self, key: str, name: str, etag: str | None, size: int | None) -> ObjectEvent:
        time = self.clock.next()
        return ObjectEvent(
            self.bucket, key, None, etag, size, name, time, f"{self.clock.steps:016X}"
        )

    def features(self) -> dict[str, dict]:
        return self._rows("features")

    def rejects(self) -> dict[str, dict]:
        return self._rows("rejects")

    def pending(self) -> dict[str, dict]:
        return self._rows("pending")

    def _rows(self, name: str) -> dict[str, dict]:
        """A table by key, as any reader sees it."""
        table = delta.open_table(f"s3://{self.bucket}/{name}")
        assert table is not None
        rows = table.dataset().to_table().to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row for row in rows}

    def retry(self) -> None:
        """Handle the photos that are due, without a queue."""
        bodies: list[str] = []
        Retries(self.recipe.layout, bodies.extend).send_due()
        self.handle(*(event for body in bodies for event in parse(body)))

    def live(self) -> dict[str, str]:
        """Versions by key of what is under the prefix now."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="photos/")
        return {each["Key"]: each["ETag"].strip('"') for each in listed.get("Contents", [])}

    def assert_exactly_the_live_photos(self) -> None:
        stored = {key: row["version"] for key, row in self.features().items()}
        assert stored == self.live()
