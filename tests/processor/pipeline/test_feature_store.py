"""The feature store: outcomes become durable, with two services at once and however often repeated."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable

from common.layout import StoreLayout
from ingest.events import ObjectEvent
from processor.errors import CommitConflict, StoreError
from processor.pipeline import feature_store
from processor.pipeline.feature_store import FeatureStore, Settled
from processor.pipeline.outcomes import Kind, Outcome, Work
from processor.pipeline.tasks import extract
from processor.store import datafiles, delta
from processor.store.schema import FEATURES
from tests.support.drawn_photos import photo
from tests.support.feature_files import features_table
from tests.support.two_services import (
    Services,
    gone,
    pending,
    rejected,
    stored,
    unchanged,
    unchecked,
)
from tests.support.world import World

# Outcomes of tasks, on the local disk


def test_every_outcome_is_counted(services: Services) -> None:
    first = services.settle(*map(stored, "abcd"))
    assert first == Settled(4, 0, 0, 0, 0, 0, 0)
    second = services.settle(
        stored("a", "2"),
        stored("e"),
        Outcome("b", Kind.UNCHANGED, "1"),
        gone("c"),
        gone("nobody's"),
        rejected("d", "2"),
        rejected("f"),
        pending("g"),
        pending("b2"),
    )
    assert second == Settled(2, 1, removed=2, unchanged=1, rejected=2, pending=2, overtaken=0)
    assert services.versions() == {"a": "2", "b": "1", "e": "1"}
    assert services.rows("rejects").keys() == {"d", "f"}
    assert services.rows("pending").keys() == {"b2", "g"}


def test_a_commit_records_its_batch(services: Services) -> None:
    services.settle(*map(stored, "ab"), rejected("c"))
    table = delta.open_table(services.layout.features)
    assert table
    entry = next(table.history(1))
    assert (entry["batch"], entry["photos"]) == (1, 2)


def test_s3_is_checked_again_only_for_photos_of_another_commit(services: Services) -> None:
    one, planned_on = services.stores[0], services.stores[0].features.table_version
    services.settle(stored("z"), gone("a"), gone("b"), gone("e"), pending("g"), by=1)
    services.settle(gone("c"), rejected("y"), by=1)
    ends = [stored("a"), stored("b"), gone("c"), rejected("d"), rejected("e")]
    others = [Outcome("z", Kind.UNCHANGED, "1"), pending("g")]
    checked: list[str] = []

    def is_current(outcome: Outcome) -> bool:
        checked.append(outcome.key)
        return outcome.key not in "bce"

    results = [services.result(*ends), services.result(*others)]
    settled = one.settle(results, planned_on, is_current, {}, {})
    assert sorted(checked) == ["a", "b", "c", "e"]
    assert settled == Settled(1, 0, removed=0, unchanged=1, rejected=1, pending=1, overtaken=3)
    assert services.versions() == {"a": "1", "z": "1"}
    assert services.rows("rejects").keys() == {"d", "y"}


def test_what_another_service_has_stored_is_not_stored_again(services: Services) -> None:
    """Both handle the same events; S3 need not be asked about it."""
    planned_on = services.stores[0].features.table_version
    services.settle(*map(stored, "abc"), by=1)
    files = services.stores[1].features.find("a")["a"].path
    results = [services.result(*map(stored, "abd")), services.result(stored("c"))]
    settled = services.stores[0].settle(results, planned_on, unchecked, {}, {})
    assert (settled.stored, settled.unchanged, settled.replaced) == (1, 3, 0)
    assert settled.conflicts == 0  # it looked before it committed
    assert services.versions() == dict.fromkeys("abcd", "1")
    assert services.stores[0].features.find("a")["a"].path == files


def test_what_s3_refuses_to_tell_is_processed_again(services: Services) -> None:
    planned_on = services.stores[0].features.table_version
    services.settle(gone("a"), gone("b"), by=1)
    results = [services.result(stored("a"), stored("b"), stored("c"))]
    told = {"a": None, "b": True}
    settled = services.stores[0].settle(results, planned_on, lambda each: told[each.key], {}, {})
    assert (settled.again, settled.overtaken) == (("a",), 0)
    assert services.versions() == {"b": "1", "c": "1"}


def test_a_commit_that_loses_is_planned_again_and_counted(services: Services) -> None:
    one = services.stores[0]
    commit, rivals = one.features.commit, iter("xy")

    def after_others(*arguments: Any, **named: Any) -> None:
        for key in rivals:
            services.settle(stored(key), by=1)
            break
        commit(*arguments, **named)

    one.features.commit = after_others
    settled = services.settle(stored("a"))
    assert (settled.stored, settled.conflicts) == (1, 2)
    assert settled.conflict_seconds > 0
    assert services.versions().keys() == {"a", "x", "y"}


@pytest.mark.parametrize("end", [gone, rejected, unchanged])
def test_an_outcome_that_changes_no_row_is_a_fence(services: Services, end) -> None:
    """Its commit makes the other service check S3 again."""
    planned_on = services.stores[0].features.table_version
    services.settle(end("a"), by=1)
    results = [services.result(stored("a"), stored("b"))]
    services.stores[0].settle(results, planned_on, lambda outcome: outcome.key != "a", {}, {})
    assert services.versions() == {"b": "1"}


@pytest.mark.parametrize("other", [stored("a", "2"), gone("a")])
def test_an_unchanged_photo_that_another_service_changed_is_not_settled(
    services: Services, other: Outcome
) -> None:
    services.settle(stored("a"), stored("b"))
    planned_on = services.stores[0].features.table_version
    services.settle(other, by=1)
    results = [services.result(unchanged("a"), unchanged("b"), gone("c"))]
    settled = services.stores[0].settle(results, planned_on, lambda _: True, {}, {})
    assert (settled.unchanged, settled.again) == (1, ("a",))


def test_a_reject_that_another_service_contradicts_is_not_settled(services: Services) -> None:
    """The photo was replaced after the features and before the rejects of its old version."""
    one, other = services.stores
    commit, planned_on = one.features.commit, one.features.table_version

    def overtaken_afterwards(*arguments: Any, **named: Any) -> None:
        commit(*arguments, **named)
        services.settle(stored("a", "2"), by=1)

    one.features.commit = overtaken_afterwards
    results = [services.result(rejected("a"), rejected("b"))]
    settled = one.settle(results, planned_on, lambda outcome: outcome.key != "a", {}, {})
    assert settled.again == ("a",)
    assert services.versions() == {"a": "2"}
    one.features.commit = commit
    other.settle([services.result(Outcome("a", Kind.UNCHANGED, "2"))], 0, lambda _: True, {}, {})
    assert services.rows("rejects").keys() == {"b"}


def test_after_too_many_conflicts_nothing_is_changed(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "MAX_CONFLICTS", 3)
    planned_on = services.stores[0].features.table_version
    services.settle(gone("a"), stored("z0"), by=1)
    commits = 0

    def is_current(_: Outcome) -> bool:
        nonlocal commits
        commits += 1
        services.settle(gone("a"), stored(f"z{commits}"), by=1)
        return True

    results = [services.result(stored("a"))]
    with pytest.raises(CommitConflict, match="3 commits in a row"):
        services.stores[0].settle(results, planned_on, is_current, {}, {})
    assert commits == 3
    assert services.versions().keys() == {"z0", "z1", "z2", "z3"}


# Photos in S3


def test_a_batch_that_is_settled_again_adds_nothing(world: World) -> None:
    """The answer to a commit was lost: the same files are handed in once more."""
    store, _ = world.services[0]
    event = world.put("photos/a.jpg", photo(1))
    result = extract([Work(event.key, event.etag, event.event_time, False, None)], world.recipe)
    for _ in range(2):
        store.settle([result], 0, lambda _: True, {"batch": 0}, {})
    world.assert_exactly_the_live_photos()


def test_two_services_with_the_same_photo_store_it_once(world: World) -> None:
    event = world.put("photos/a.jpg", photo(1))
    other = world.service("other")
    world.services = [world.service("one", meanwhile=lambda: other[1].handle([event], 99))]
    world.handle(event)
    world.assert_exactly_the_live_photos()


@pytest.mark.parametrize("first", ["one", "other"])
def test_an_overwrite_that_is_undone_leaves_the_first_version(world: World, first: str) -> None:
    """The second service finds the row unchanged while, or after, the first computes the overwrite."""
    world.handle(world.put("photos/a.jpg", photo(1)))
    overwrite = world.put("photos/a.jpg", photo(2))
    other = world.service("other")

    def undo() -> None:
        undone = world.put("photos/a.jpg", photo(1))
        if first == "other":
            other[1].handle([undone], 99)
        else:
            late.append(undone)

    late: list[ObjectEvent] = []
    world.services = [world.service("one", meanwhile=undo)]
    world.handle(overwrite)
    other[1].handle(late, 100)
    world.assert_exactly_the_live_photos()


def test_a_row_replaced_while_it_was_found_unchanged_is_stored_again(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    slow = world.service("slow")
    overwrite = world.put("photos/a.jpg", photo(2))
    read = [extract([Work(overwrite.key, None, overwrite.event_time, False, None)], world.recipe)]

    def commit_the_overwrite() -> None:
        """By a service that read it before it was undone, and commits it now."""
        if read:
            store = slow[0]
            settled = store.settle(
                [read.pop()], store.features.table_version, lambda _: True, {}, {}
            )
            assert settled.replaced == 1

    undone = world.put("photos/a.jpg", photo(1))
    world.services = [world.service("one", meanwhile=commit_the_overwrite)]
    world.handle(undone)
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


def test_a_store_never_mixes_two_networks(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    other = dataclasses.replace(world.recipe.network, layer="max_pool")
    with pytest.raises(StoreError, match=r"restore \[model\]"):
        FeatureStore.open(world.recipe.layout.store, other.model_id, world.folder / "x")


def test_a_description_of_the_table_is_anybodys_to_set(services: Services, tmp_path: Path) -> None:
    services.settle(stored("a"))
    DeltaTable(services.layout.features).alter.set_table_description("photos of our shops")
    again = FeatureStore.open(services.layout, "network", tmp_path / "again")
    again.close()
    with pytest.raises(StoreError, match="'network'"):
        FeatureStore.open(services.layout, "another", tmp_path / "another")


@pytest.mark.parametrize("described", [True, False])
def test_a_store_made_before_its_network_was_a_property_is_its_rows(
    tmp_path: Path, described: bool
) -> None:
    layout = StoreLayout(f"{tmp_path}/")
    table = DeltaTable.create(layout.features, FEATURES, description="vgg16-test")
    file = datafiles.write(layout.features, features_table(np.ones((2, 4), np.float32)))
    opened = delta.open_table(layout.features)
    assert opened
    opened.commit(FEATURES, [file], [])
    if not described:
        table.update_incremental()
        table.alter.set_table_description("photos of our shops")
    (model,) = set(opened.dataset().to_table()["model"].to_pylist())
    with pytest.raises(StoreError, match=model):
        FeatureStore.open(layout, "another", tmp_path / "a")
    for name in "bc":
        FeatureStore.open(layout, model, tmp_path / name).close()
    assert DeltaTable(layout.features).metadata().configuration["fruits.model"] == model


def test_an_append_only_table_is_not_a_conflict(services: Services) -> None:
    services.settle(stored("a"))
    DeltaTable(services.layout.features).alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(StoreError, match=r"append-only.*delta\.appendOnly to false"):
        services.settle(stored("a", "2"))


# Rejects


def test_a_repeated_reject_is_one_row(world: World) -> None:
    event = world.put("photos/a.jpg", b"bad")
    world.handle(event)
    version = world.services[0][0].rejects.table.table_version
    world.handle(event)
    assert world.services[0][0].rejects.table.table_version == version


def test_a_photo_turns_bad_and_good_again(world: World) -> None:
    world.handle(world.put("photos/a.jpg", photo(1)))
    world.handle(world.put("photos/a.jpg", b"bad"))
    assert (world.features(), set(world.rejects())) == ({}, {"photos/a.jpg"})
    world.handle(world.put("photos/a.jpg", photo(2)))
    assert (set(world.features()), world.rejects()) == ({"photos/a.jpg"}, {})
    world.handle(world.put("photos/a.jpg", b"bad"))
    world.handle(world.remove("photos/a.jpg"))
    assert world.features() == world.rejects() == {}
