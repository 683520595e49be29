"""Retries: photos that wait are enqueued when they are due, and what happens to them then."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.layout import BucketLayout
from ingest.events import ObjectEvent, parse
from processor.network.spec import NetworkSpec
from processor.pipeline import retries
from processor.pipeline.retries import Retries, retry_at
from tests.support.aws import DeployedStack
from tests.support.drawn_photos import photo
from tests.support.s3_answers import s3_answers
from tests.support.world import World

NOW = datetime(2026, 11, 26, tzinfo=UTC)
KEY = "photos/Apple/a b+ü.jpg"
IN_URL = "a%20b%2B%C3%BC.jpg"  # the end of KEY, as S3 is asked for it


class Sent:
    """The retries of a world, and the events that they have sent."""

    def __init__(self, world: World) -> None:
        self.events: list[ObjectEvent] = []
        self.retries = Retries(world.recipe.layout, self._send)

    def _send(self, bodies: list[str]) -> None:
        self.events += [event for body in bodies for event in parse(body)]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour later, for whoever looks what is due."""
    monkeypatch.setattr(retries, "_now", lambda: datetime.now(UTC) + timedelta(hours=1))
    return


def forbid(world: World, data: bytes) -> ObjectEvent:
    """Put a photo that is forbidden when its event is handled, among others that are not."""
    events = [world.put(KEY, data), *(world.put(f"photos/{n}.jpg", photo(n)) for n in range(2))]
    with s3_answers(403, "AccessDenied", IN_URL):
        world.handle(*events)
    return events[0]


def test_waits_grow_from_a_minute_to_a_day() -> None:
    waits = [retry_at(NOW, attempts) - NOW for attempts in range(1, 60)]
    minutes = [1, 4, 16, 64, 256, 1024, *[1440] * 53]
    for wait, least in zip(waits, minutes, strict=True):
        assert timedelta(minutes=least) <= wait <= timedelta(minutes=least) * (1 + retries.JITTER)


def test_what_is_not_due_is_not_sent(world: World) -> None:
    forbid(world, photo(7))
    sent = Sent(world)
    assert sent.retries.send_due() == 0
    assert sent.events == []


def test_a_photo_is_sent_once_when_it_is_due_and_stored_once_it_can_be_read(
    world: World, later: None
) -> None:
    event = forbid(world, photo(7))
    waits = world.pending()[KEY]
    assert (waits["version"], waits["reason"], waits["attempts"]) == (event.etag, "forbidden", 1)
    sent = Sent(world)
    assert [sent.retries.send_due(), sent.retries.send_due()] == [1, 0]
    world.handle(*sent.events)
    world.assert_exactly_the_live_photos()
    assert world.pending() == {}
    assert world.features()[KEY]["event_time"] > waits["at"] - timedelta(minutes=1)


def test_another_process_sends_it_again(world: World, later: None) -> None:
    forbid(world, photo(7))
    assert [Sent(world).retries.send_due() for _ in range(2)] == [1, 1]


def test_after_a_day_its_message_is_taken_for_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(world, photo(7))
    sent = Sent(world)
    for hours, number in ((1, 1), (24, 0), (26, 1), (27, 0)):
        then = datetime.now(UTC) + timedelta(hours=hours)
        monkeypatch.setattr(retries, "_now", lambda then=then: then)
        assert sent.retries.send_due() == number


def test_after_another_attempt_it_is_sent_again(world: World, later: None) -> None:
    forbid(world, photo(7))
    sent = Sent(world)
    sent.retries.send_due()
    forbid(world, photo(8))
    assert sent.retries.send_due() == 1


def test_the_oldest_are_sent_first(
    world: World, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "SENT_AT_ONCE", 2)
    events = [world.put(f"photos/{n}-no.jpg", photo(n)) for n in range(3)]
    good = world.put("photos/good.jpg", photo(9))
    with s3_answers(403, "AccessDenied", "-no.jpg"):
        for event in events:
            world.handle(good, event)
    waiting = sorted(world.pending().values(), key=lambda row: row["retry_at"])
    sent = Sent(world)
    assert [sent.retries.send_due() for _ in range(3)] == [2, 1, 0]
    assert [each.key for each in sent.events] == [row["key"] for row in waiting]


def test_a_reject_of_what_vanished_is_dropped_after_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal was handled first, so no further event drops it."""
    creation, removal = world.put(KEY, photo(1)), world.remove(KEY)
    world.handle(removal)
    world.handle(creation, world.put("photos/bad.jpg", b"bad"))
    assert world.rejects()[KEY]["reason"] == "vanished"
    sent = Sent(world)
    assert sent.retries.recheck_vanished() == 0
    monkeypatch.setattr(retries, "_now", lambda: datetime.now(UTC) + timedelta(hours=1))
    assert sent.retries.recheck_vanished() == 1
    world.handle(*sent.events)
    assert world.rejects().keys() == {"photos/bad.jpg"}


def test_what_vanished_and_came_back_is_stored(world: World, later: None) -> None:
    """Its creation was missed."""
    creation = world.put(KEY, photo(1))
    world.remove(KEY)
    world.handle(creation)
    world.put(KEY, photo(2))
    sent = Sent(world)
    sent.retries.recheck_vanished()
    world.handle(*sent.events)
    world.assert_exactly_the_live_photos()
    assert world.rejects() == {}


def test_before_there_is_a_store_nothing_waits(bucket: str) -> None:
    none = Retries(BucketLayout(bucket), lambda _: None)
    assert (none.send_due(), none.recheck_vanished()) == (0, 0)


def test_a_photo_that_is_restored_from_an_archive_gets_its_row_at_once(
    stack: DeployedStack, spec: NetworkSpec, tmp_path: Path
) -> None:
    world = World(stack.bucket, spec, tmp_path)
    where = {"Bucket": stack.bucket, "Key": KEY}

    def handle_events() -> list[str]:
        events = [event for body in stack.drain() for event in parse(json.dumps(body))]
        world.handle(*events)
        return [event.event_name for event in events]

    world.s3.put_object(**where, Body=photo(1), StorageClass="GLACIER")
    assert handle_events() == ["ObjectCreated:Put"]
    assert world.pending()[KEY]["reason"] == "archived"
    world.s3.restore_object(**where, RestoreRequest={"Days": 1})
    world.s3.head_object(**where)
    assert handle_events() == ["ObjectRestore:Completed"]
    world.assert_exactly_the_live_photos()
    assert world.pending() == {}
