"""Outages in the middle of a micro-batch: waited out in place, and then it is durable."""

import time

import pytest

from processor.store import patience
from tests.support.drawn_photos import photo
from tests.support.s3_answers import s3_answers
from tests.support.world import World


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the pauses between tries, botocore's own too."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_of_the_logs_put(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    entry = "features/_delta_log/00000000000000000001.json"
    with s3_answers(503, "SlowDown", entry, method="PUT", times=13) as asked:
        world.services[0] = world.service("behind the proxy")
        world.handle(world.put("photos/a.jpg", photo(1)))
    assert len(asked) == 13  # more than delta-rs tries by itself
    assert "trying again" in caplog.text
    world.assert_exactly_the_live_photos()
    assert world.computed == ["photos/a.jpg"]  # once


def test_of_the_check_after_a_conflict(world: World, no_pauses: None) -> None:
    event = world.put("photos/a.jpg", photo(1))
    world.services.append(world.service("other"))
    committed: list[bool] = []

    def meanwhile() -> None:
        if not committed:
            committed.append(True)
            world.handle(world.remove(event.key), by=1)
            world.put(event.key, photo(1))

    world.services[0] = world.service("interrupted", meanwhile)
    with s3_answers(503, "SlowDown", "photos/a.jpg", method="HEAD", times=7) as asked:
        world.handle(event)
    assert len(asked) == 7  # more than botocore tries by itself
    world.assert_exactly_the_live_photos()


def test_of_the_put_of_a_data_file(world: World, no_pauses: None) -> None:
    event = world.put("photos/a.jpg", photo(1))
    with s3_answers(503, "SlowDown", ".parquet", method="PUT", times=7):
        world.handle(event)
    world.assert_exactly_the_live_photos()
