"""Rejects: promise 5 of the store, one bad photo harms nobody."""

import time

import pytest

from processor.pipeline.micro_batch import MAX_ATTEMPTS
from tests.support.drawn_photos import photo
from tests.support.s3_answers import s3_answers
from tests.support.world import World

BAD = {
    "zero.jpg": (b"", "empty"),
    "cut.jpg": (photo(1, size=(400, 300))[:700], "truncated"),
    "text.jpg": (b"this is no photo", "unsupported"),
    "big.jpg": (b"\xff\xd8\xff" + bytes(1_000_001), "too-large"),
    "bomb.png": (photo(1, "PNG", (2000, 2000)), "too-large"),
}


def test_bad_photos_end_as_rejects_and_their_neighbours_are_stored(world: World) -> None:
    bad = [world.put(f"photos/{name}", data) for name, (data, _) in BAD.items()]
    vanished = world.put("photos/vanished.jpg", photo(1))
    world.remove(vanished.key)
    good = [world.put(f"photos/{n}.webp", photo(n, "WEBP")) for n in range(9)]
    world.handle(*bad, vanished, *good)
    assert set(world.features()) == {event.key for event in good}
    reasons = {key: row["reason"] for key, row in world.rejects().items()}
    assert reasons == {
        "photos/vanished.jpg": "vanished",
        **{f"photos/{name}": reason for name, (_, reason) in BAD.items()},
    }
    assert all(row["detail"] and row["attempts"] == 1 for row in world.rejects().values())


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(403, "AccessDenied", "forbidden"), (403, "InvalidObjectState", "archived")],
)
def test_refused_objects_are_rejected(world: World, status: int, code: str, reason: str) -> None:
    events = [world.put("photos/a.jpg", photo(1)), world.put("photos/b.jpg", photo(2))]
    with s3_answers(status, code, "a.jpg"):
        world.handle(*events)
    assert set(world.features()) == {"photos/b.jpg"}
    assert world.rejects()["photos/a.jpg"]["reason"] == reason
    assert world.sent == []


def test_what_s3_cannot_deliver_is_retried_with_backoff(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # botocore's pauses between its own tries
    events = [world.put("photos/a.jpg", photo(1)), world.put("photos/b.jpg", photo(2))]
    with s3_answers(503, "SlowDown", "a.jpg"):
        for _ in range(MAX_ATTEMPTS + 1):
            world.handle(*events)
    assert set(world.features()) == {"photos/b.jpg"}
    assert world.rejects()["photos/a.jpg"]["reason"] == "unavailable"
    assert world.rejects()["photos/a.jpg"]["attempts"] == MAX_ATTEMPTS + 1
    assert [delay for _, delay in world.sent] == [60, 120, 240, 480]
    world.handle(world.sent[0][0])
    world.assert_exactly_the_live_photos()
    assert world.rejects() == {}


def test_expired_credentials_reject_no_photo(world: World) -> None:
    event = world.put("photos/a.jpg", photo(1))
    with (
        s3_answers(403, "ExpiredToken", "a.jpg"),
        pytest.raises(Exception, match="ExpiredToken"),
    ):
        world.handle(event)
    assert world.rejects() == {}
