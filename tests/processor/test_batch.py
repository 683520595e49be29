"""Micro-batches: promises 1, 2, 3, 5 and 8 of the store, against the embedded AWS.

Without streaming: the order, repetition and delay of events are chosen here.
"""

import contextlib
import dataclasses
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.events import ObjectEvent, parse
from processor import files, tables
from processor.batch import MAX_ATTEMPTS, MicroBatches
from processor.extract import Recipe, extract
from processor.network import NetworkSpec
from processor.outcomes import Extracted, Work
from processor.store import FeatureStore, StoreError
from tests.processor.conftest import Clock, photo


class World:
    """A bucket, the events of what happens in it, and services that handle them."""

    def __init__(self, bucket: str, spec: NetworkSpec, folder: Path) -> None:
        self.bucket = bucket
        self.s3 = boto3.client("s3")
        self.clock = Clock()
        self.folder = folder
        self.computed: list[str] = []
        self.sent: list[tuple[ObjectEvent, int]] = []
        self.batches = 0
        self.recipe = Recipe(
            bucket=bucket,
            photos_prefix="photos/",
            features_folder=f"s3://{bucket}/features",
            network=spec,
            downloads=4,
            max_bytes=1_000_000,
            max_pixels=1_000_000,
            reduced_decode=True,
        )
        self.services = [self.service("0")]

    def service(
        self, name: str, meanwhile: Callable[[], object] = lambda: None
    ) -> tuple[FeatureStore, MicroBatches]:
        """A service with an index of its own; ``meanwhile`` happens before it commits a batch."""
        store = FeatureStore(
            f"s3://{self.bucket}/", self.recipe.network.model_id, self.folder / name
        )

        def work(works: Sequence[Work]) -> list[Extracted]:
            result = extract(works, self.recipe)
            self.computed += result.stored()
            meanwhile()
            return [result]

        def send(body: str, delay: int) -> None:
            self.sent += [(event, delay) for event in parse(body)]

        return store, MicroBatches(store, self.recipe, work, send)

    def handle(self, *events: ObjectEvent, by: int = 0) -> None:
        self.batches += 1
        self.services[by][1].handle(events, self.batches)

    def put(self, key: str, data: bytes) -> ObjectEvent:
        answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        return self.event(key, "ObjectCreated:Put", answer["ETag"].strip('"'), len(data))

    def remove(self, key: str) -> ObjectEvent:
        self.s3.delete_object(Bucket=self.bucket, Key=key)
        return self.event(key, "ObjectRemoved:Delete", None, None)

    def event(self, key: str, name: str, etag: str | None, size: int | None) -> ObjectEvent:
        time = self.clock.next()
        return ObjectEvent(
            self.bucket, key, None, etag, size, name, time, f"{self.clock.steps:016X}"
        )

    def features(self) -> dict[str, dict]:
        """The features table by key, as any reader sees it."""
        table = tables.open_table(f"s3://{self.bucket}/features")
        assert table is not None
        rows = table.to_pyarrow_table().to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row for row in rows}

    def rejects(self) -> dict[str, dict]:
        table = tables.open_table(f"s3://{self.bucket}/rejects")
        assert table is not None
        rows = table.to_pyarrow_table().to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row for row in rows}

    def live(self) -> dict[str, str]:
        """Versions by key of what lies under the prefix now."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix="photos/")
        return {each["Key"]: each["ETag"].strip('"') for each in listed.get("Contents", [])}

    def assert_exactly_the_live_photos(self) -> None:
        stored = {key: row["version"] for key, row in self.features().items()}
        assert stored == self.live()


@pytest.fixture
def world(bucket: str, spec: NetworkSpec, tmp_path: Path) -> World:
    return World(bucket, spec, tmp_path)


# ---------------------------------------------------------------------- one row per live photo


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


def test_events_of_other_places_and_folder_markers_are_ignored(world: World) -> None:
    events = [world.put("features/x.jpg", photo(1)), world.put("photos/Apple/", b"")]
    world.handle(*events, dataclasses.replace(events[0], bucket="another", key="photos/a.jpg"))
    assert world.features() == world.rejects() == {}


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


def test_a_reordered_removal_does_not_remove_what_came_back(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    removal, again = world.remove("photos/a.jpg"), world.put("photos/a.jpg", photo(2))
    world.handle(again)
    world.handle(removal)
    world.assert_exactly_the_live_photos()


def test_versions_of_a_versioned_bucket_are_told_apart(world: World) -> None:
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


# ---------------------------------------------------------------------- nothing twice


def test_repeated_events_compute_and_commit_nothing(world: World) -> None:
    events = [world.put(f"photos/{n}.jpg", photo(n)) for n in range(3)]
    world.handle(*events, *events)
    version = world.services[0][0].features.version
    world.handle(*events)
    world.services[0] = world.service("another machine")
    world.handle(*reversed(events))
    assert sorted(world.computed) == sorted(event.key for event in events)
    assert world.services[0][0].features.version == version


def test_a_batch_that_is_settled_again_adds_nothing(world: World) -> None:
    """The answer to a commit was lost: the same files are handed in once more."""
    store, _ = world.services[0]
    event = world.put("photos/a.jpg", photo(1))
    result = extract([Work(event.key, event.etag, event.event_time, False, None)], world.recipe)
    for _ in range(2):
        store.settle([result], 0, lambda _: True, {"batch": 0})
    world.assert_exactly_the_live_photos()


def test_two_services_with_the_same_photo_store_it_once(world: World) -> None:
    event = world.put("photos/a.jpg", photo(1))
    other = world.service("other")
    world.services = [world.service("one", meanwhile=lambda: other[1].handle([event], 99))]
    world.handle(event)
    world.assert_exactly_the_live_photos()


def test_a_photo_overwritten_while_it_was_computed_is_not_stored_old(world: World) -> None:
    other = world.service("other")
    first = world.put("photos/a.jpg", photo(1))
    world.services = [
        world.service(
            "one",
            meanwhile=lambda: other[1].handle([world.put("photos/a.jpg", photo(2))], 99),
        )
    ]
    world.handle(first, world.put("photos/b.jpg", photo(3)))
    world.assert_exactly_the_live_photos()


@pytest.mark.parametrize("stored_before", [False, True])
def test_a_photo_removed_while_it_was_computed_is_not_stored(
    world: World, stored_before: bool
) -> None:
    other = world.service("other")
    if stored_before:
        world.handle(world.put("photos/a.jpg", photo(0)))
    first = world.put("photos/a.jpg", photo(1))
    world.services = [
        world.service("one", meanwhile=lambda: other[1].handle([world.remove("photos/a.jpg")], 99))
    ]
    world.handle(first, world.put("photos/b.jpg", photo(3)))
    world.assert_exactly_the_live_photos()


def test_a_photo_that_turned_bad_while_it_was_computed_is_not_stored(world: World) -> None:
    other = world.service("other")
    first = world.put("photos/a.jpg", photo(1))
    world.services = [
        world.service(
            "one", meanwhile=lambda: other[1].handle([world.put("photos/a.jpg", b"bad")], 99)
        )
    ]
    world.handle(first)
    assert world.features() == {}
    assert world.rejects()["photos/a.jpg"]["reason"] == "unsupported"


# ---------------------------------------------------------------------- one bad photo harms nobody

BAD = {
    "zero.jpg": (b"", "empty"),
    "cut.jpg": (photo(1, size=(400, 300))[:700], "truncated"),
    "text.jpg": (b"this is no photo", "unsupported"),
    "big.jpg": (b"\xff\xd8\xff" + bytes(1_000_001), "too-large"),
    "bomb.png": (photo(1, "PNG", (2000, 2000)), "too-large"),
}


def test_bad_photos_end_as_rejects_and_their_neighbours_go_through(world: World) -> None:
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


def test_a_repeated_reject_is_one_row(world: World) -> None:
    event = world.put("photos/a.jpg", b"bad")
    world.handle(event)
    version = world.services[0][0].rejects.version
    world.handle(event)
    assert world.services[0][0].rejects.version == version


def test_a_photo_turns_bad_and_good_again(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    world.handle(world.put("photos/a.jpg", b"bad"))
    assert (world.features(), set(world.rejects())) == ({}, {"photos/a.jpg"})
    world.handle(world.put("photos/a.jpg", photo(2)))
    assert (set(world.features()), world.rejects()) == ({"photos/a.jpg"}, {})
    world.handle(world.put("photos/a.jpg", b"bad"))
    world.handle(world.remove("photos/a.jpg"))
    assert world.features() == world.rejects() == {}


@contextlib.contextmanager
def s3_answers(status: int, code: str, key: str, operation: str = "*") -> Iterator[None]:
    """S3 answers requests for ``key`` with an error."""

    def answer(request, **_):
        if request.url.endswith(key):
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            raw = type("Raw", (), {"stream": lambda *_, **__: iter([body])})()
            return AWSResponse(request.url, status, {"content-type": "application/xml"}, raw)
        return None

    events = files.s3().meta.events
    events.register(f"before-send.s3.{operation}", answer)
    try:
        yield
    finally:
        events.unregister(f"before-send.s3.{operation}", answer)


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


def test_what_s3_cannot_deliver_is_tried_again_later_and_later(
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


def test_an_outage_of_credentials_is_nobodys_reject(world: World) -> None:
    event = world.put("photos/a.jpg", photo(1))
    with (
        s3_answers(403, "ExpiredToken", "a.jpg"),
        pytest.raises(Exception, match="ExpiredToken"),
    ):
        world.handle(event)
    assert world.rejects() == {}


# ---------------------------------------------------------------------- reproducible


def test_a_store_never_mixes_two_networks(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    other = dataclasses.replace(world.recipe.network, layer="max_pool")
    with pytest.raises(StoreError, match=r"restore \[model\]"):
        FeatureStore(f"s3://{world.bucket}/", other.model_id, world.folder / "x")
