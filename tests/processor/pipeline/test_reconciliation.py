"""Reconciliation: what the comparison finds is enqueued, whole passes are recorded and continued."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from common.layout import BucketLayout
from ingest.events import ObjectEvent, parse
from processor.errors import ServiceError
from processor.photos import listing
from processor.pipeline import reconciliation
from processor.pipeline.comparison import Scope
from processor.pipeline.reconciliation import Pass, Reconciliation, last_pass
from processor.store import objects
from tests.support.drawn_photos import photo
from tests.support.traffic import refusal
from tests.support.world import World

WHOLE = Scope(prefix="photos/")


class Sent:
    """The reconciliation of a bucket, and the events that it has sent."""

    def __init__(self, bucket: str, scratch: Path, backlog: Callable[[], int] = lambda: 0) -> None:
        self.events: list[ObjectEvent] = []
        self.messages = 0
        self.layout = BucketLayout(bucket)
        self.reconciliation = Reconciliation(self.layout, scratch, self.send, backlog)

    def send(self, bodies: list[str]) -> None:
        self.messages += len(bodies)
        self.events += [event for body in bodies for event in parse(body)]

    @property
    def keys(self) -> list[str]:
        return [event.key for event in self.events]

    def last(self) -> Pass:
        last = last_pass(self.layout.store)
        assert last
        return last


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends, and records, after every few keys."""
    monkeypatch.setattr(listing, "PAGE_KEYS", 3)
    monkeypatch.setattr(reconciliation, "SENT_AT_ONCE", 2)
    monkeypatch.setattr(reconciliation, "EVENTS_PER_MESSAGE", 2)


def fill(world: World, count: int) -> list[str]:
    """Photos that nobody has processed."""
    keys = [f"photos/{n}.jpg" for n in range(count)]
    for n, key in enumerate(keys):
        world.put(key, photo(n))
    return keys


def test_what_it_sends_makes_the_store_agree(world: World) -> None:
    world.handle(*(world.put(f"photos/{n}.jpg", photo(n)) for n in range(5)))
    world.put("photos/1.jpg", photo(11))
    world.put("photos/9.jpg", photo(9))
    world.remove("photos/2.jpg")
    sent = Sent(world.bucket, world.folder)
    done = sent.reconciliation.run(WHOLE)
    assert done.differences == {"missing": 1, "stale": 1, "removed": 1, "retried": 0}
    assert done.examples["stale"] == ["photos/1.jpg"]
    assert (done.objects, done.found, done.finished) == (5, 3, True)
    world.handle(*sent.events)
    world.assert_exactly_the_live_photos()
    assert sent.reconciliation.run(WHOLE).found == 0


def test_a_dry_run_changes_nothing(world: World) -> None:
    fill(world, 3)
    sent = Sent(world.bucket, world.folder)
    assert sent.reconciliation.run(WHOLE, dry_run=True).found == 3
    assert sent.messages == 0
    assert last_pass(sent.layout.store) is None


def test_several_events_share_a_message(world: World) -> None:
    keys = fill(world, 25)
    sent = Sent(world.bucket, world.folder)
    sent.reconciliation.run(WHOLE)
    assert sent.messages == 3
    assert sent.keys == sorted(keys)


def test_what_was_interrupted_is_continued(world: World, often: None) -> None:
    """Whatever had been sent may be sent again, nothing is left out, and all is counted once."""
    keys = sorted(fill(world, 10))
    first = Sent(world.bucket, world.folder)
    send = first.send

    def fail_at_third(bodies: list[str]) -> None:
        if first.messages == 2:
            raise refusal("AccessDenied")
        send(bodies)

    first.reconciliation._send = fail_at_third
    with pytest.raises(ClientError):
        first.reconciliation.run(WHOLE)
    assert not first.last().finished
    second = Sent(world.bucket, world.folder)
    done = second.reconciliation.run(WHOLE)
    assert second.keys == keys[4:]
    assert (done.objects, done.found, done.began) == (10, 10, first.last().began)


def test_it_is_stopped_from_outside_and_continued(world: World, often: None) -> None:
    keys = sorted(fill(world, 10))
    first = Sent(world.bucket, world.folder)
    stop = first.reconciliation.stop
    with pytest.raises(ServiceError, match="goes on from there"):
        first.reconciliation.run(WHOLE, note=lambda so_far: so_far.found and stop())
    second = Sent(world.bucket, world.folder)
    second.reconciliation.run(WHOLE)
    assert first.keys + second.keys == keys


def test_after_a_while_it_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abandoned position says little about the photos before it."""
    fill(world, 3)
    sent = Sent(world.bucket, world.folder)
    objects.put(
        sent.layout.store.reconciliation,
        Pass(began=datetime.now(UTC), at=datetime.now(UTC), after="photos/1.jpg").encode(),
    )
    later = datetime.now(UTC) + timedelta(hours=25)
    monkeypatch.setattr(reconciliation, "_now", lambda: later)
    assert sent.reconciliation.run(WHOLE).found == 3


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"began": 1}', b'{"began": "2026-11-26"}'])
def test_an_illegible_record_is_none(world: World, body: bytes) -> None:
    sent = Sent(world.bucket, world.folder)
    objects.put(sent.layout.store.reconciliation, body)
    assert last_pass(sent.layout.store) is None
    assert sent.reconciliation.is_due(timedelta(days=1))


def test_a_part_is_not_recorded(world: World) -> None:
    """It would be taken for the whole."""
    fill(world, 3)
    sent = Sent(world.bucket, world.folder)
    sent.reconciliation.run(Scope(prefix="photos/1"))
    sent.reconciliation.run(Scope(prefix="photos/", since=datetime.now(UTC) - timedelta(hours=1)))
    assert sent.keys == ["photos/1.jpg", *(f"photos/{n}.jpg" for n in range(3))]
    assert last_pass(sent.layout.store) is None


def test_it_is_due_once_in_an_interval_whoever_does_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = timedelta(days=1)
    one, other = (Sent(world.bucket, world.folder).reconciliation for _ in range(2))
    assert one.is_due(day)
    assert one.ended is None
    one.run(WHOLE)
    assert not other.is_due(day)
    assert one.ended == other.ended is not None
    now = datetime.now(UTC)
    monkeypatch.setattr(reconciliation, "_now", lambda: now + timedelta(hours=25))
    assert other.is_due(day)


def test_a_pass_that_is_at_work_is_left_alone_until_its_process_is_dead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(world.bucket, world.folder)
    now = datetime.now(UTC)
    objects.put(sent.layout.store.reconciliation, Pass(began=now, at=now).encode())
    assert not sent.reconciliation.is_due(timedelta(days=1))
    monkeypatch.setattr(reconciliation, "_now", lambda: now + timedelta(minutes=11))
    assert sent.reconciliation.is_due(timedelta(days=1))


def test_while_the_queue_is_long_nothing_is_sent(
    world: World, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photos that it would enqueue may be in the queue already."""
    monkeypatch.setattr(reconciliation, "BACKLOG_SECONDS", 0.01)
    keys = sorted(fill(world, 5))
    waited = threading.Semaphore(0)
    lengths = [100_000, 100_000, 0, 100_000, 10_000]

    def backlog() -> int:
        waited.release()
        return lengths.pop(0) if lengths else 0

    sent = Sent(world.bucket, world.folder, backlog)
    records: list[int] = []
    sent.reconciliation.run(WHOLE, note=lambda _: records.append(len(sent.events)))
    assert sent.keys == keys
    assert records[:4] == [0, 0, 0, 2]
