"""A part compared with what it should be, and the wording of the difference."""

import pytest

from infra_scripts.parts import Change, Part

State = dict[str, object]


def never(before: State | None, after: State) -> None:
    raise AssertionError("compare must not write")


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        (None, {"a": 1}, "create"),
        ({"a": 1}, {"a": 2}, "update"),
        ({"a": 1}, {"a": 1}, "unchanged"),
        (None, None, "unchanged"),  # there is nothing, and nothing is wanted
    ],
)
def test_comparing_names_what_there_is_to_do(
    before: State | None, after: State | None, action: str
) -> None:
    part = Part("queue q", lambda: before, lambda known: after, never)
    change = part.compare()
    assert (change.part, change.action) == ("queue q", action)
    assert (change.before, change.after) == (before, after)


def test_an_update_is_described_by_its_members() -> None:
    change = Change(
        "queue q", "update", {"a": 1, "b": {"c": [1], "d": 2}}, {"b": {"c": [2], "d": 2}}
    )
    assert change.describe().splitlines() == [
        "update    queue q",
        "          a: 1 -> none",
        "          b.c: [1] -> [2]",
    ]
    assert Change("queue q", "create", None, {}).describe(done=True) == "created   queue q"
    assert Change("queue q", "unchanged", 1, 1).describe(done=True) == "unchanged queue q"
