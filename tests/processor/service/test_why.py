"""Why: everything that is known of one photo, and a verdict for each of its states."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.service.why import Known, why
from tests.support.drawn_photos import photo
from tests.support.in_process import InThisProcess
from tests.support.s3_answers import s3_answers
from tests.support.world import World

KEY = "photos/Apple/a b+ü.jpg"


def look(world: World, key: str = KEY) -> Known:
    found = why(world.recipe.layout, key)
    assert found["key"] == key
    json.dumps(found, default=str)
    return found


def test_a_stored_photo_and_its_place_in_the_matrix(world: World) -> None:
    data = photo(1)
    event = world.put(KEY, data)
    world.handle(event, *(world.put(f"photos/{n}.jpg", photo(n)) for n in range(2, 5)))
    found = look(world)
    assert found["verdict"] == "stored, up to date; not yet in the matrix"
    assert found["s3"]
    assert (found["s3"]["version"], found["s3"]["bytes"]) == (event.etag, len(data))
    age = datetime.now(UTC) - datetime.fromisoformat(found["s3"]["modified"])
    assert age < timedelta(minutes=1)
    row = world.features()[KEY]
    del row["features"]
    assert found["features"] == row
    assert (found["reject"], found["reduced"]) == (None, None)

    Matrix(world.recipe.layout.store, RefitPolicy(components=2), InThisProcess()).update()
    found = look(world)
    assert found["verdict"] == "stored, up to date"
    assert found["reduced"]
    assert len(found["reduced"]) == 2


def test_a_rejected_photo(world: World) -> None:
    world.handle(world.put(KEY, b"bad"))
    found = look(world)
    reject = world.rejects()[KEY]
    assert found["reject"] == reject
    assert found["verdict"] == f"rejected: unsupported: {reject['detail']}"
    assert found["features"] is None


@pytest.mark.parametrize("stored", [False, True])
def test_a_photo_that_waits(world: World, stored: bool) -> None:
    world.handle(world.put("photos/other.jpg", photo(3)), *[world.put(KEY, photo(1))] * stored)
    event = world.put(KEY, photo(2))
    with s3_answers(403, "AccessDenied", "a%20b%2B%C3%BC.jpg"):
        world.handle(event)
        found = look(world)
    waits = world.pending()[KEY]
    assert found["pending"] == waits
    assert found["verdict"].startswith("waits: forbidden: S3 answered AccessDenied: no; attempt 1,")
    assert waits["retry_at"].isoformat(timespec="seconds") in found["verdict"]
    assert found["verdict"].endswith("; its row is of an older version") == stored


def test_a_change_whose_event_is_yet_to_be_handled(world: World) -> None:
    world.handle(world.put(KEY, photo(1)))
    world.put(KEY, photo(2))
    assert "was overwritten after its row was stored" in look(world)["verdict"]
    world.remove(KEY)
    found = look(world)
    assert "was removed after its row was stored" in found["verdict"]
    assert found["s3"] is None
    assert found["features"]


def test_a_photo_that_was_never_processed(world: World) -> None:
    world.put(KEY, photo(1))
    assert look(world)["verdict"].startswith("in S3, but neither stored nor rejected")


def test_an_unknown_photo(world: World) -> None:
    assert look(world) == {
        "key": KEY,
        "s3": None,
        "features": None,
        "reject": None,
        "pending": None,
        "reduced": None,
        "verdict": "unknown: neither in S3 nor in the store",
    }


@pytest.mark.parametrize("key", ["elsewhere/a.jpg", "photos/Apple/"])
def test_a_key_that_is_not_a_photo(world: World, key: str) -> None:
    world.handle(world.put(key, b""))
    assert look(world, key)["verdict"].startswith("not a photo of this service: keys begin with")


def test_in_a_versioned_bucket_versions_are_compared(world: World) -> None:
    versioning = {"Status": "Enabled"}
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration=versioning)
    world.handle(world.put(KEY, photo(1)))
    assert look(world)["verdict"].startswith("stored, up to date")
    world.put(KEY, photo(1))  # the same bytes
    assert "was overwritten" in look(world)["verdict"]
    world.remove(KEY)  # a delete marker
    assert look(world)["s3"] is None


def test_any_other_error_of_s3_is_raised(world: World) -> None:
    with s3_answers(403, "AccessDenied", ".jpg"), pytest.raises(ClientError, match="403"):
        look(world)
