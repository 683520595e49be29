"""The report: whatever is amiss in any stage is in the last line, and makes the soak fail."""

import json
from collections import Counter

import pytest

from tests.soak.boundaries import BOUNDARIES
from tests.soak.kills import EXPIRED, KILLS
from tests.soak.outcome import Outcome
from tests.soak.report import BAD, amiss, summary
from tests.soak.storm import Record
from tests.soak.verdict import Verdict


def outcome(**found: object) -> Outcome:
    record = Record(Counter(tree=3), Counter(received=2, random=1), [1.0, 3.0])
    return Outcome(record, events=10, last=Verdict(rows=5), **found)


def test_stages_are_added_up() -> None:
    first = outcome(faults=Counter({"500": 2}), first=Verdict(waiting={"a"}))
    found = summary([first, outcome(faults=Counter({"503": 1}))], 7, 3)
    assert json.loads(json.dumps(found)) == found
    assert amiss(found) == []
    expected = {"kills": 6, "faults": 3, "events": 20, "rows": 10, "waiting": 1, "seed": 7}
    assert expected.items() <= found.items()
    assert found["kills_by_kind"] == {"tree": 6}
    assert found["boundaries"] == {"random": 2, "received": 4}
    assert 1 < found["recovery_p95_s"] <= 3


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"first": Verdict(lost={"a": ""})}, "lost"),
        ({"first": Verdict(duplicated={"a": ""})}, "duplicated"),
        ({"first": Verdict(wrong={"a": ""})}, "wrong"),
        ({"dead_letters": Counter(malformed=1)}, "dead_letters"),
        ({"orphans": ["java"]}, "orphans"),
        ({"unexpected_ends": ["alpha"]}, "unexpected_ends"),
        ({"problems": ["reduced/ lags"]}, "problems"),
    ],
)
def test_anything_amiss_in_a_stage_fails_the_soak(bad: dict[str, object], name: str) -> None:
    assert name in BAD
    assert outcome(**bad).is_bad
    assert amiss(summary([outcome(), outcome(**bad)], 7, 3)) == [name]


def test_a_long_soak_must_have_had_every_kind_and_boundary() -> None:
    whole = outcome()
    assert "no kill: csv" in summary([whole], 7, 30)["problems"]
    whole.record.kinds.update([*KILLS, EXPIRED])
    whole.record.boundaries.update(BOUNDARIES)
    assert amiss(summary([whole], 7, 30)) == []
