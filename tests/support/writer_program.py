"""A writer as a program whose every step can be chosen: the real service on tables in memory.

What a writer does next depends only on the events it got and on the answers to what it has asked. So one
step of it is: run it from the start, answer from memory what it asked before, note what it asks next,
and leave it there. No thread waits anywhere, and the place that a writer has come to is a number.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from common.layout import BucketLayout
from ingest.events import ObjectEvent
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import VANISHED, Extracted, Kind, Outcome, Work
from tests.support.fake_tables import Access, FakeTable, Shared, access
from tests.support.world import NOON

BUCKET = "bucket"
TABLES = ("features", "rejects")


class Content(NamedTuple):
    """What lies under a key; ``version`` is None if nothing does."""

    version: str | None
    good: bool = True


class Event(NamedTuple):
    number: int
    key: str
    content: Content


class Read(NamedTuple):
    """A request to S3 for what is under a key."""

    key: str


Request = Access | Read
Batch = tuple[tuple[Event, int], ...]  # with the number of times that each was delivered before


class _Asks(BaseException):
    """Leaves a writer at a request that is not yet answered."""


class Program:
    """All places at which a writer can be: after a batch and some answers, with its next request."""

    def __init__(self, bare: bool) -> None:
        self.requests: list[Request | None] = []  # None: it has finished
        self.batches: list[Batch] = []
        self._answers: list[tuple[object, ...]] = []
        self._following: dict[object, int] = {}
        self._bare = bare

    def start(self, batch: Batch) -> int:
        return self._place(batch, batch, ())

    def after(self, place: int, answer: object) -> int:
        step = (place, answer)
        known = self._following.get(step)
        if known is not None:
            return known
        return self._place(step, self.batches[place], (*self._answers[place], answer))

    def _place(self, step: object, batch: Batch, answers: tuple[object, ...]) -> int:
        if step not in self._following:
            self._following[step] = len(self.requests)
            self.requests.append(_next_request(batch, answers, self._bare))
            self.batches.append(batch)
            self._answers.append(answers)
        return self._following[step]


def _next_request(batch: Batch, answers: tuple[object, ...], bare: bool) -> Request | None:
    left = iter(answers)
    paths = iter(range(1000))

    def ask(request: Request) -> Any:
        for answer in left:
            return answer
        raise _Asks(request)

    features, rejects = (FakeTable(name, ask, lambda: (batch, next(paths))) for name in TABLES)
    # No photo waits here, so nobody can tell when this is read.
    pending = FakeTable("pending", lambda request: access(Shared(), request)[0], lambda: None)

    def extract(works: Sequence[Work]) -> list[Extracted]:
        outcomes = tuple(_outcome(work, ask) for work in works)
        stored = [each for each in outcomes if each.kind is Kind.STORED]
        rows = [{"key": each.key, "version": each.object_version} for each in stored]
        return [Extracted(features.write(rows).file if rows else None, outcomes)]

    service = MicroBatches(
        FeatureStore(features, rejects, pending),
        BucketLayout(BUCKET),
        extract,
        lambda _, key: ask(Read(key)).version,
    )
    try:
        service.handle([_object_event(event, bare) for event, _ in batch], 1)
    except _Asks as asks:
        return asks.args[0]
    return None


def _object_event(event: Event, bare: bool) -> ObjectEvent:
    version = event.content.version
    name = "ObjectCreated:Put" if version else "ObjectRemoved:Delete"
    order = None if bare else f"{event.number + 1:04X}"
    etag = None if bare else version
    return ObjectEvent(BUCKET, event.key, None, etag, 1 if version else None, name, NOON, order)


def _outcome(work: Work, ask: Callable[[Read], Content]) -> Outcome:
    """As tasks._prepare finds it."""
    if work.stored_version is not None and ask(Read(work.key)).version == work.stored_version:
        return Outcome(work.key, Kind.UNCHANGED, work.stored_version)
    found = ask(Read(work.key))
    if found.version is None:
        if work.removal or work.stored_version:
            return Outcome(work.key, Kind.GONE)
        return Outcome(work.key, Kind.REJECTED, work.event_version or "", VANISHED)
    if not found.good:
        return Outcome(work.key, Kind.REJECTED, found.version, "corrupt")
    return Outcome(work.key, Kind.STORED, found.version)
