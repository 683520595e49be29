"""Rejects: promise 5 of the store, one bad photo harms nobody."""

import pytest

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


def test_expired_credentials_reject_no_photo(world: World) -> None:
    event = world.put("photos/a.jpg", photo(1))
    with (
        s3_answers(403, "ExpiredToken", "a.jpg"),
        pytest.raises(Exception, match="ExpiredToken"),
    ):
        world.handle(event)
    assert world.rejects() == {}
