"""Notes: one row for each photo that is rejected or waits, whoever writes it and however often."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from processor.errors import CommitConflict
from processor.pipeline import retries
from processor.pipeline.notes import MAX_CONFLICTS
from processor.pipeline.outcomes import Outcome
from tests.support.two_services import Services, gone, pending, rejected, stored, unchanged


def test_a_reject_is_of_the_newest_version_and_reason(services: Services) -> None:
    services.settle(rejected("a"), rejected("b"))
    written = services.rows("rejects")
    services.settle(rejected("a"), rejected("b", "2", "truncated"))
    rows = services.rows("rejects")
    assert rows["a"] == written["a"]
    assert (rows["b"]["version"], rows["b"]["reason"], rows["b"]["attempts"]) == (
        "2",
        "truncated",
        1,
    )
    services.settle(stored("a"), gone("b"))
    assert services.rows("rejects") == {}


def test_waiting_photos_keep_their_other_rows(services: Services) -> None:
    services.settle(stored("a"), rejected("b"))
    services.settle(pending("a", "2"), pending("b", "2"), pending("c"))
    assert services.versions() == {"a": "1"}
    assert services.rows("rejects").keys() == {"b"}
    assert services.rows("pending").keys() == {"a", "b", "c"}
    services.settle(stored("a", "2"), gone("b"), rejected("c"))
    assert services.rows("pending") == {}


def test_attempts_count_when_they_are_due(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another event of a photo that waits is no attempt."""
    services.settle(pending("a"))
    first = services.rows("pending")["a"]
    assert first["attempts"] == 1
    assert timedelta(minutes=1) <= first["retry_at"] - first["at"] < timedelta(minutes=2)
    services.settle(pending("a"))
    assert services.rows("pending")["a"] == first
    services.settle(pending("a", "2"))
    assert services.rows("pending")["a"]["attempts"] == 1

    monkeypatch.setattr(retries, "retry_at", lambda now, _: now)
    services.settle(pending("b"))
    for attempts in (2, 3):
        services.settle(pending("b"))
        assert services.rows("pending")["b"]["attempts"] == attempts
    services.settle(pending("b", reason="unavailable"))
    assert services.rows("pending")["b"]["attempts"] == 1
    services.settle(pending("b", reason="unavailable"))
    services.settle(rejected("b", reason="unavailable"))
    assert services.rows("rejects")["b"]["attempts"] == 3


def test_what_was_read_ends_only_what_waited_before(services: Services) -> None:
    """Another service found a newer version forbidden while this one computed the older."""
    one = services.stores[0]
    planned_on, waiting = one.features.table_version, one.pending.rows(["a"])
    services.settle(pending("a", "2"), by=1)
    one.settle([services.result(stored("a"))], planned_on, lambda _: True, {}, waiting)
    assert services.rows("pending").keys() == {"a"}
    services.settle(unchanged("a", "2"))
    assert services.rows("pending") == {}


def test_rejects_of_two_services_are_all_kept(services: Services) -> None:
    for number in range(4):
        services.settle(rejected(f"{number}"), rejected("both"), by=number % 2)
    assert services.rows("rejects").keys() == {"0", "1", "2", "3", "both"}
    assert services.rows("rejects")["both"]["attempts"] == 1


def test_a_commit_that_another_writer_overtook_is_repeated(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = services.stores[0].rejects.table
    refresh = table.refresh

    def overtaken() -> None:
        refresh()
        if "b" not in table.find("b"):
            services.settle(rejected("a"), rejected("b"), by=1)

    monkeypatch.setattr(table, "refresh", overtaken)
    results = [services.result(rejected("a"), rejected("c"))]
    assert services.stores[0].rejects.settle(results, {}) == {"c"}
    assert services.rows("rejects").keys() == {"a", "b", "c"}


@pytest.mark.parametrize("kind", [rejected, pending])
def test_others_may_not_come_first_for_ever(
    services: Services, monkeypatch: pytest.MonkeyPatch, kind: Callable[[str], Outcome]
) -> None:
    store = services.stores[0]
    notes = store.rejects if kind is rejected else store.pending
    attempts = []

    def lost(*_: object) -> None:
        attempts.append(1)
        raise CommitConflict("another writer was first")

    monkeypatch.setattr(notes.table, "commit", lost)
    with pytest.raises(CommitConflict, match=f"lost {MAX_CONFLICTS} commits"):
        notes.settle([services.result(kind("a"))], {})
    assert len(attempts) == MAX_CONFLICTS
