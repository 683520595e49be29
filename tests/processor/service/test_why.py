"""Why: everything that is known of one photo, and a verdict for each of its states."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from ingest.events import message
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.network.spec import NetworkSpec
from processor.service.why import Known, why
from tests.support.aws import DeployedStack
from tests.support.drawn_photos import photo
from tests.support.endpoints import Request
from tests.support.forwarded import Refusal, s3_refuses
from tests.support.in_process import InThisProcess
from tests.support.object_events import event
from tests.support.s3_answers import s3_answers
from tests.support.traffic import counts
from tests.support.world import World

KEY = "photos/Apple/a b+ü.jpg"


def look(world: World, key: str = KEY, dead_letter_queue: str = "none-such") -> Known:
    found = why(world.recipe.layout, key, dead_letter_queue)
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
        "dead_letters": {
            "found": [],
            "looked_at": 0,
            "all": False,
            "fault": "there is no queue 'none-such': deploy it (python -m infra_scripts deploy) or "
            "correct queue.dead_letter_name",
        },
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


# ---------------------------------------------------------------------------------------------------
# Dead letters


@pytest.fixture
def served(stack: DeployedStack, spec: NetworkSpec, tmp_path: Path) -> World:
    """The world of a deployed stack."""
    return World(stack.bucket, spec, tmp_path)


def kill_letters(stack: DeployedStack, *bodies: str) -> None:
    for body in bodies:
        stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody=body)


def test_dead_letters_about_it_are_named_and_stay(served: World, stack: DeployedStack) -> None:
    queue = stack.stack.dead_letter_queue
    served.put(KEY, photo(1))
    kill_letters(stack, *["{}"] * 12, message([event("photos/other.jpg", bucket=stack.bucket)]))
    found = look(served, dead_letter_queue=queue)
    assert found["dead_letters"] == {"found": [], "looked_at": 13, "all": True, "fault": None}
    assert "its event is queued, or was missed, and `python -m" in found["verdict"]

    kill_letters(stack, json.dumps({"key": KEY, "\x1b": 0}))
    found = look(served, dead_letter_queue=queue)
    (letter,) = found["dead_letters"]["found"]
    assert letter["cause"] == "malformed"
    assert "is not a known kind of message" in letter["reason"]
    assert "; a dead letter about it is malformed: body is not" in found["verdict"]

    kill_letters(stack, message([event(KEY, bucket=stack.bucket)]))
    found = look(served, dead_letter_queue=queue)
    assert [each["cause"] for each in found["dead_letters"]["found"]] == ["malformed", "valid"]
    assert "it can be processed: `python -m processor redrive` moves it back" in found["verdict"]
    assert counts(stack, stack.dead_letter_queue_url) == (15, 0)


def test_it_says_if_it_did_not_look_at_all(
    served: World, stack: DeployedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = stack.stack.dead_letter_queue
    kill_letters(stack, *["{}"] * 25)
    for limit in ("MOST_LETTERS", "LOOK_SECONDS"):
        with monkeypatch.context() as patch:
            patch.setattr(f"processor.service.why.{limit}", 0)
            letters = look(served, dead_letter_queue=queue)["dead_letters"]
        assert (letters["looked_at"], letters["all"]) == (10, False)
    stack.sqs.receive_message(QueueUrl=stack.dead_letter_queue_url, VisibilityTimeout=60)
    letters = look(served, dead_letter_queue=queue)["dead_letters"]
    assert (letters["looked_at"], letters["all"]) == (24, False)


@pytest.mark.parametrize("call", ["GetQueueUrl", "GetQueueAttributes", "ReceiveMessage"])
def test_dead_letters_that_may_not_be_read_are_one_line(
    served: World, stack: DeployedStack, call: str
) -> None:
    def deny(request: Request) -> Refusal | None:
        denied = str(request.headers["X-Amz-Target"]).endswith(f".{call}")
        return (403, "AccessDenied") if denied else None

    served.handle(served.put(KEY, photo(1)))
    with s3_refuses(deny):
        found = look(served, dead_letter_queue=stack.stack.dead_letter_queue)
    fault = found["dead_letters"]["fault"]
    assert fault
    assert len(fault.splitlines()) == 1
    assert stack.stack.dead_letter_queue in fault
    assert f"sqs:{call}" in fault
    assert found["verdict"].startswith("stored, up to date")
