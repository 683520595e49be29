"""The soak's judgement: it says what it is fed."""

from dataclasses import replace

import pytest

from tests.soak.contents import contents
from tests.soak.verdict import Live, Noted, Stored, Verdict, judge

GOOD, OTHER = contents()[:2]
POISON = contents()[-1]
EXPECTED = {GOOD.name: [1.0, 2.0, 3.0], OTHER.name: [3.0, 2.0, 1.0]}
LIVE = {
    "a": Live("1", GOOD),
    "b": Live("2", OTHER),
    "bad": Live("3", POISON),
}
ROWS = [Stored("a", "1", [1.0, 2.0, 3.0]), Stored("b", "2", [3.0, 2.0, 1.00001])]
REJECTS = [Noted("bad", "3", "corrupt"), Noted("long gone", "4", "vanished")]


def verdict(live=LIVE, rows=ROWS, rejects=REJECTS, pending=(), strict=True) -> Verdict:
    return judge(live, list(rows), list(rejects), list(pending), EXPECTED, strict=strict)


def without(key: str) -> list[Stored]:
    return [each for each in ROWS if each.key != key]


def test_tables_that_are_the_bucket() -> None:
    found = verdict()
    assert found.faults == {}
    assert found.rows == 2


def test_a_lost_photo() -> None:
    assert verdict(rows=without("a")).lost == {"a": "no row of 1"}
    rejected = [*REJECTS, Noted("a", "1", "corrupt")]
    assert set(verdict(rows=without("a"), rejects=rejected).lost) == {"a"}


def test_a_duplicated_row() -> None:
    assert set(verdict(rows=[*ROWS, ROWS[0]]).duplicated) == {"a"}
    assert set(verdict(live={"a": LIVE["a"], "bad": LIVE["bad"]}).duplicated) == {"b"}
    assert set(verdict(rejects=[*REJECTS, REJECTS[0]]).duplicated) == {"bad"}


@pytest.mark.parametrize(
    "row",
    [
        replace(ROWS[0], version="0"),
        replace(ROWS[0], features=[1.0, 2.0, 3.001]),
        replace(ROWS[0], features=[1.0, 2.0]),
        replace(ROWS[0], features=[float("nan"), 2.0, 3.0]),
    ],
)
def test_a_wrong_row(row: Stored) -> None:
    assert set(verdict(rows=[row, ROWS[1]]).wrong) == {"a"}


def test_rejects_that_are_wrong() -> None:
    assert set(verdict(rejects=[*REJECTS, Noted("a", "1", "crash")]).wrong) == {"a"}
    assert set(verdict(rejects=[*REJECTS, Noted("gone", "5", "corrupt")]).wrong) == {"gone"}
    assert set(verdict(rejects=[]).wrong) == {"bad"}
    assert set(verdict(rejects=[Noted("bad", "2", "corrupt")]).wrong) == {"bad"}
    assert set(verdict(rows=[*ROWS, Stored("bad", "3", [1.0])]).wrong) == {"bad"}


def test_what_waits_is_only_not_lost_until_it_may_not_wait() -> None:
    pending = [Noted("a", "1", "unavailable")]
    early = verdict(rows=without("a"), pending=pending, strict=False)
    assert (early.faults, early.waiting) == ({}, {"a"})
    late = verdict(rows=without("a"), pending=pending)
    assert set(late.lost) == set(late.wrong) == {"a"}
    assert set(verdict(rows=[], pending=pending, strict=False).lost) == {"b"}
