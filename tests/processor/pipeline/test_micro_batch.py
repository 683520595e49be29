"""Micro-batches: promises 1 to 3 of the store, against the embedded AWS."""

import dataclasses
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.events import ObjectEvent
from processor.network.spec import NetworkSpec
from processor.pipeline import retries
from processor.pipeline.micro_batch import DEATHS, MicroBatches
from processor.pipeline.outcomes import CRASH, Extracted, Kind, Outcome, Work
from processor.store import delta, keyed
from tests.support.drawn_photos import photo
from tests.support.world import World

# One row per live photo


def test_put_overwrite_remove(world: World) -> None:
    world.handle(*(world.put(f"photos/Apple/{n}.jpg", photo(n)) for n in range(5)))
    world.assert_exactly_the_live_photos()
    world.handle(world.put("photos/Apple/1.jpg", photo(11)), world.remove("photos/Apple/2.jpg"))
    world.assert_exactly_the_live_photos()
    row = world.features()["photos/Apple/1.jpg"]
    assert (row["label"], row["width"], row["height"]) == ("Apple", 40, 30)
    assert row["model"] == world.recipe.network.model_id
    assert len(row["features"]) == 512


def test_label_is_the_parent_folder_or_null(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)), world.put("photos/x/y/a.jpg", photo(1)))
    assert [row["label"] for _, row in sorted(world.features().items())] == [None, "y"]


def test_events_outside_the_prefix_and_folder_markers_are_ignored(world: World) -> None:
    events = [world.put("features/x.jpg", photo(1)), world.put("photos/Apple/", b"")]
    world.handle(*events, dataclasses.replace(events[0], bucket="another", key="photos/a.jpg"))
    assert world.features() == world.rejects() == {}


def test_an_object_with_bytes_is_a_photo_even_if_its_key_ends_in_a_slash(world: World) -> None:
    world.handle(world.put("photos/Apple/", photo(1)), world.put("photos/Pear/", b"no photo"))
    assert world.features()["photos/Apple/"]["label"] == "Apple"
    assert world.rejects().keys() == {"photos/Pear/"}
    world.handle(world.remove("photos/Apple/"))
    assert world.features() == {}


KEYS = [f"photos/{name}" for name in ("a b+c.jpg", "ü%20:'.jpg", "🍎/1.jpg", "x/y/z.png")]
actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 5)),
        st.tuples(st.just("remove"), st.sampled_from(KEYS), st.just(0)),
        st.tuples(st.just("deliver"), st.integers(0, 4), st.integers(0, 2**16)),
        st.tuples(st.just("forget"), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions, st.integers(0, 2**16), st.booleans())
def test_any_interleaving_ends_in_exactly_the_live_photos(
    aws: object,
    spec: NetworkSpec,
    tmp_path_factory: pytest.TempPathFactory,
    actions: list,
    seed: int,
    bare: bool,
) -> None:
    """``bare``: events without sequencer and ETag, as some implementations of S3 send them."""
    bucket = f"any-{uuid.uuid4().hex}"  # hypothesis seeds random
    boto3.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    world = World(bucket, spec, tmp_path_factory.mktemp("world"))
    happened: list[ObjectEvent] = []
    delivered: set[int] = set()

    def deliver(chosen: list[int]) -> None:
        delivered.update(chosen)
        events = [happened[n] for n in chosen]
        if bare:
            events = [dataclasses.replace(each, sequencer=None, etag=None) for each in events]
        world.handle(*events)

    for action, what, number in actions:
        if action == "put":
            happened.append(world.put(what, photo(number)))
        elif action == "remove":
            happened.append(world.remove(what))
        elif action == "forget":
            world.services[0][0].close()
            for file in world.folder.glob("0/*"):
                file.unlink()
            world.services[0] = world.service("0")
        elif happened:
            deliver(random.Random(number).choices(range(len(happened)), k=what))
    rest = [n for n in range(len(happened)) if n not in delivered]
    rest += random.Random(seed).choices(range(len(happened)), k=3) if happened else []
    random.Random(seed).shuffle(rest)
    for start in range(0, len(rest), 3):
        deliver(rest[start : start + 3])
    world.assert_exactly_the_live_photos()


def test_a_reordered_removal_does_not_remove_a_photo_put_again(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    removal, again = world.remove("photos/a.jpg"), world.put("photos/a.jpg", photo(2))
    world.handle(again)
    world.handle(removal)
    world.assert_exactly_the_live_photos()


def test_versions_of_a_versioned_bucket_are_distinguished(world: World) -> None:
    world.s3.put_bucket_versioning(
        Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    world.handle(world.put("photos/a.jpg", photo(1)))
    first = world.features()["photos/a.jpg"]["version"]
    world.handle(world.put("photos/a.jpg", photo(2)))
    second = world.features()["photos/a.jpg"]["version"]
    versions = world.s3.list_object_versions(Bucket=world.bucket, Prefix="photos/")["Versions"]
    assert {first, second} == {each["VersionId"] for each in versions}
    world.handle(world.remove("photos/a.jpg"))
    assert world.features() == {}


def test_replacements_that_cost_too_much_are_spread_over_commits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided before they are processed; new photos, and events of what is stored, do not wait."""
    keys = [f"photos/{n}.jpg" for n in range(4)]
    events = [world.put(key, photo(n)) for n, key in enumerate(keys)]
    for event in events:
        world.handle(event)
    world.computed.clear()
    monkeypatch.setattr(keyed, "REWRITTEN_BYTES", 1)
    changes = [world.put(keys[0], photo(10)), world.put(keys[1], photo(11)), world.remove(keys[2])]
    before = world.services[0][0].features.table_version
    world.handle(*changes, events[3], world.put("photos/new.jpg", photo(12)))
    assert world.services[0][0].features.table_version == before + 3
    assert sorted(world.computed) == [keys[0], keys[1], "photos/new.jpg"]
    world.assert_exactly_the_live_photos()


# A photo over which workers die


@pytest.fixture
def die(world: World) -> Callable[[ObjectEvent], list[str]]:
    """Handles an event; a worker dies over its photo. The keys that were worked on."""

    def handle(event: ObjectEvent) -> list[str]:
        tried: list[str] = []

        def extract(works: Sequence[Work]) -> list[Extracted]:
            tried.extend(work.key for work in works)
            died = [Outcome(w.key, Kind.PENDING, w.event_version or "", CRASH, "") for w in works]
            return [Extracted(None, tuple(died))]

        MicroBatches(world.services[0][0], world.recipe.layout, extract).handle([event], 0)
        return tried

    return handle


def test_a_suspect_waits_and_kills_no_worker_meanwhile(world: World, die: Callable) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    event = world.put("photos/a.jpg", photo(2))
    assert die(event) == [event.key]
    assert die(event) == []
    assert world.pending()[event.key]["attempts"] == 1
    assert world.features().keys() == {event.key}  # of the version before
    world.handle(world.put(event.key, photo(3)))
    world.assert_exactly_the_live_photos()
    assert world.pending() == {}


def test_a_suspect_is_rejected_after_several_deaths(
    world: World, die: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "retry_at", lambda now, _: now)
    event = world.put("photos/a.jpg", photo(1))
    for deaths in range(1, DEATHS):
        die(event)
        assert world.pending()[event.key]["attempts"] == deaths
        assert world.rejects() == {}
    die(event)
    assert world.pending() == {}
    reject = world.rejects()[event.key]
    assert (reject["reason"], reject["attempts"]) == ("crash", DEATHS)
    die(world.put(event.key, photo(2)))
    assert world.pending()[event.key]["attempts"] == 1


def test_an_event_without_a_version_brings_the_verdict_no_sooner(
    world: World, die: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some implementations of S3 send them; it kills a worker, but is no attempt."""

    def last_in_an_hour(now: datetime, attempts: int) -> datetime:
        return now + timedelta(hours=attempts // (DEATHS - 1))

    monkeypatch.setattr(retries, "retry_at", last_in_an_hour)
    event = dataclasses.replace(world.put("photos/a.jpg", photo(1)), etag=None)
    for _ in range(DEATHS + 1):
        die(event)
    assert world.rejects() == {}
    assert world.pending()[event.key]["attempts"] == DEATHS - 1


def test_a_suspect_that_is_removed_is_forgotten(world: World, die: Callable) -> None:
    event = world.put("photos/a.jpg", photo(1))
    die(event)
    removal = dataclasses.replace(world.remove(event.key), etag=event.etag)
    world.handle(removal)
    assert world.pending() == world.rejects() == {}


def test_a_suspect_that_can_be_decoded_is_stored(
    world: World, die: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "retry_at", lambda now, _: now)
    die(world.put("photos/a.jpg", photo(1)))
    world.retry()
    world.assert_exactly_the_live_photos()
    assert world.pending() == world.rejects() == {}


# Nothing twice


def test_repeated_events_compute_nothing_and_add_no_row(world: World) -> None:
    events = [world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)]
    world.handle(*events, *events)
    paths = live_paths(world)
    world.handle(*events)
    world.services[0] = world.service("another machine")
    world.handle(*reversed(events))
    assert sorted(world.computed) == sorted(event.key for event in events)
    assert live_paths(world) == paths


def live_paths(world: World) -> set[str]:
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    return table.paths()
