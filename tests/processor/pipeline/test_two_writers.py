"""Two services and one bucket, in every interleaving: once both are idle, the tables are the bucket."""

from typing import Any

import pytest

from processor.pipeline import feature_store, micro_batch
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.outcomes import Extracted, Kind, of_kind
from tests.support.fake_tables import FakeTable
from tests.support.two_writers import BAD, NOTHING, A, B, Checker, State

ONE = (("photos/k", NOTHING),)
TWO = (*ONE, ("photos/l", NOTHING))
ALL = (NOTHING, A, B, BAD)

CRASH = (State(ONE, changes=2, crashes=1), ALL)
REMOVED = (State(ONE, changes=3), (NOTHING, A))  # and put back with the same bytes
UNDONE = (State(ONE, changes=3), (A, B))  # an overwrite


@pytest.mark.parametrize(
    ("state", "contents", "bare", "least"),
    [
        (*CRASH, False, 10**10),
        (*REMOVED, False, 10**10),
        (*REMOVED, True, 10**10),  # events without ETag and order
        (*UNDONE, False, 10**6),
        (State(TWO, changes=2), ALL, False, 10**7),
    ],
    ids=["crash", "removed", "removed, bare events", "undone", "two photos"],
)
def test_the_tables_are_the_bucket(state: State, contents: tuple, bare: bool, least: int) -> None:
    assert Checker(bare, contents).run(state) > least


def without_fences(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = FakeTable.commit

    def only_if_rows_change(table: FakeTable, added: Any, dropped: Any, *rest: Any, **named: Any):
        if added or dropped:
            commit(table, added, dropped, *rest, **named)

    monkeypatch.setattr(FakeTable, "commit", only_if_rows_change)


def without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = FakeTable.commit

    def unnamed(*arguments: Any, about: object, rewrites: object) -> None:
        commit(*arguments)

    monkeypatch.setattr(FakeTable, "commit", unnamed)


def with_stale_unchanged_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "_contradicted", lambda *_: set())


def with_stale_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_store, "_checked", lambda *_: (set(), set()))


def with_unchecked_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureStore, "_unsettled", lambda *_: set())


def with_unchecked_notes_of_unchanged_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    unsettled = FeatureStore._unsettled

    def of_others(store: FeatureStore, results: list[Extracted], *rest: Any) -> set[str]:
        others = (Kind.STORED, Kind.GONE, Kind.REJECTED)
        return unsettled(store, [Extracted(None, tuple(of_kind(results, *others)))], *rest)

    monkeypatch.setattr(FeatureStore, "_unsettled", of_others)


def with_vanished_photos_taken_for_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "VANISHED", "another reason")


@pytest.mark.parametrize(
    ("broken", "state", "contents"),
    [
        (without_fences, *UNDONE),
        (without_names, *UNDONE),
        (with_stale_unchanged_photos, *UNDONE),
        (with_stale_outcomes, *UNDONE),
        (with_unchecked_notes, *CRASH),
        (with_unchecked_notes_of_unchanged_photos, *CRASH),
        (with_vanished_photos_taken_for_present, *REMOVED),
    ],
)
def test_what_each_rule_is_for_is_found(
    broken: Any, state: State, contents: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it there is an interleaving that leaves a wrong row, a reject too many or none."""
    broken(monkeypatch)
    with pytest.raises(AssertionError, match=r"in S3, row \w+, reject \w+, after") as fault:
        Checker(contents=contents).run(state)
    print(fault.value)
