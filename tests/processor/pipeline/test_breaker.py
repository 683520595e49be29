"""The breaker: what S3 does to all photos is waited out, what it does to some is noted."""

import logging
import threading
import time

import pytest
from botocore.exceptions import ClientError

from processor.errors import ServiceError
from processor.pipeline import breaker
from processor.store import patience
from tests.support.drawn_photos import photo
from tests.support.s3_answers import s3_answers
from tests.support.traffic import until
from tests.support.world import World

OUTAGES = [
    (403, "AccessDenied", "forbidden"),
    (400, "KMS.DisabledException", "encrypted"),
    (400, "KMS.KMSInvalidStateException", "encrypted"),
    (503, "SlowDown", "unavailable"),
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore's pauses between its own tries
    monkeypatch.setattr(breaker, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(breaker, "LONGEST_WAIT_SECONDS", 0.1)


def healing(
    caplog: pytest.LogCaptureFixture, healed: threading.Event, said: str
) -> threading.Thread:
    """Heals S3 once that was said."""
    heal = threading.Thread(target=lambda: until(lambda: said in caplog.text) and healed.set())
    heal.start()
    return heal


@pytest.mark.parametrize(("status", "code", "reason"), OUTAGES)
@pytest.mark.parametrize("stored", [True, False])
def test_in_an_outage_a_batch_waits_and_nothing_is_noted(
    world: World,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
    reason: str,
    stored: bool,
) -> None:
    caplog.set_level(logging.INFO)
    before = [world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)] if stored else []
    if stored:
        world.handle(*before)
    events = [*before, *(world.put(f"photos/new{n}.jpg", photo(n)) for n in range(5))]
    healed = threading.Event()
    with s3_answers(status, code, ".jpg", healed):
        heal = healing(caplog, healed, "no photo")
        world.handle(*events)
        heal.join()
    world.assert_exactly_the_live_photos()
    assert world.pending() == world.rejects() == {}
    said = [each.getMessage() for each in caplog.records if "no photo" in each.getMessage()]
    assert len(said) == 1
    assert reason in said[0]
    assert code in said[0] or str(status) in said[0]  # a response to HEAD has no code
    assert "has passed" in caplog.text


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (400, "KMS.DisabledException"), (503, "SlowDown")],
)
def test_a_store_that_cannot_be_written_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture, status: int, code: str
) -> None:
    healed = threading.Event()
    events = [world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)]
    with s3_answers(status, code, ".parquet", healed):
        heal = healing(caplog, healed, "the store cannot be used")
        world.handle(*events)
        heal.join()
    assert code in caplog.text or "PutObject was denied" in caplog.text
    world.assert_exactly_the_live_photos()
    assert world.pending() == {}


def test_a_commit_that_is_denied_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    healed = threading.Event()
    with s3_answers(403, "AccessDenied", "1.json", healed, method="PUT"):
        world.services[0] = world.service("denied")
        heal = threading.Thread(
            target=lambda: until(lambda: "no further" in caplog.text) and healed.set()
        )
        heal.start()
        world.handle(world.put("photos/a.jpg", photo(1)))
        heal.join()
    world.assert_exactly_the_live_photos()
    assert len(world.computed) == 1
    assert caplog.text.count("the store cannot be used") == 1


def test_a_store_that_cannot_be_read_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has denied the service all of S3."""
    healed = threading.Event()
    event = world.put("photos/a.jpg", photo(1))
    with s3_answers(403, "AccessDenied", ".json", healed, method="HEAD"):
        world.services[0] = world.service("denied")
        heal = healing(caplog, healed, "the store cannot be used")
        world.handle(event)
        heal.join()
    world.assert_exactly_the_live_photos()


def test_files_are_not_held_for_longer_than_a_vacuum_spares_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "LONGEST_HOLD_SECONDS", 0.2)
    event = world.put("photos/a.jpg", photo(1))
    with s3_answers(403, "AccessDenied", "1.json", method="PUT"):
        world.services[0] = world.service("denied")
        world.services[0][1].limit_patience(5)
        began = time.monotonic()
        with pytest.raises(ServiceError, match="left in the queue"):
            world.handle(event)
    assert time.monotonic() - began < 5


def test_without_credentials_to_write_the_batch_fails(world: World) -> None:
    event = world.put("photos/a.jpg", photo(1))
    with (
        s3_answers(403, "ExpiredToken", ".parquet"),
        pytest.raises(ClientError, match="ExpiredToken"),
    ):
        world.handle(event)


def test_forbidden_photos_wait_where_others_can_be_read(world: World) -> None:
    """A whole batch of them, for instance of one uploader."""
    world.handle(world.put("photos/good.jpg", photo(1)))
    theirs = [world.put(f"photos/theirs/{n}.no", photo(n)) for n in range(5)]
    with s3_answers(403, "AccessDenied", ".no"):
        world.handle(*theirs)
    assert world.features().keys() == {"photos/good.jpg"}
    assert world.pending().keys() == {each.key for each in theirs}


def test_archived_photos_do_not_look_like_an_outage(world: World) -> None:
    """By a lifecycle rule, all that are stored."""
    world.handle(*(world.put(f"photos/{n}.cold", photo(n)) for n in range(3)))
    forbidden = world.put("photos/a.no", photo(9))
    with s3_answers(403, "InvalidObjectState", ".cold"):
        world.handle(world.put("photos/new.cold", photo(4)))
        with s3_answers(403, "AccessDenied", ".no"):
            waiting = threading.Timer(20, world.services[0][1].stop)
            waiting.start()
            world.handle(forbidden)
            waiting.cancel()
    reasons = {key: row["reason"] for key, row in world.pending().items()}
    assert reasons == {"photos/new.cold": "archived", "photos/a.no": "forbidden"}


def test_before_anything_is_stored_other_photos_that_can_be_read_prove_there_is_no_outage(
    world: World,
) -> None:
    theirs = [world.put(f"photos/theirs/{n}.no", photo(n)) for n in range(3)]
    for n in range(3):
        world.put(f"photos/{n}.jpg", photo(n))  # whose events are queued
    with s3_answers(403, "AccessDenied", ".no"):
        world.handle(*theirs)
    assert world.pending().keys() == {each.key for each in theirs}


def test_archived_photos_are_no_outage(world: World) -> None:
    """A lifecycle rule archives all that is stored; they need not be readable."""
    world.handle(*(world.put(f"photos/{n}.old", photo(n)) for n in range(3)))
    late = world.put("photos/late.old", photo(9))
    world.services[0][1].limit_patience(1)
    with s3_answers(403, "InvalidObjectState", ".old"):
        world.handle(late)
    assert world.pending()[late.key]["reason"] == "archived"


def test_stored_photos_that_were_removed_prove_no_outage(world: World) -> None:
    """The events of their removal are queued behind the batch that would be held."""
    stored = [world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)]
    world.handle(*stored)
    for each in stored:
        world.remove(each.key)
    world.put("photos/new.jpg", photo(8))
    forbidden = world.put("photos/a.no", photo(9))
    world.services[0][1].limit_patience(1)
    with s3_answers(403, "AccessDenied", ".no"):
        world.handle(forbidden)
    assert world.pending().keys() == {forbidden.key}


def test_in_an_outage_stored_photos_keep_their_rows(world: World) -> None:
    events = [world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)]
    world.handle(*events)
    rows = world.features()
    changed = [world.put(f"photos/{n}.jpg", photo(n + 3)) for n in range(2)]
    _, batches = world.services[0]
    batches.limit_patience(0.1)
    for outage in (403, 503):
        with (
            s3_answers(outage, "No", ".jpg"),
            pytest.raises(ServiceError, match="left in the queue"),
        ):
            world.handle(*changed, events[2])
        assert world.features() == rows
    assert world.pending() == {}


def test_a_service_that_stops_waits_no_longer(world: World) -> None:
    _, batches = world.services[0]
    stop = threading.Timer(0.3, batches.stop)
    began = time.monotonic()
    with s3_answers(403, "AccessDenied", ".jpg"):
        event = world.put("photos/a.jpg", photo(1))
        stop.start()
        with pytest.raises(ServiceError, match="forbidden"):
            world.handle(event)
    assert time.monotonic() - began < 30
