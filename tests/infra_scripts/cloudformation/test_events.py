"""A stack's events: told as they happen, until the operation's own end and no further."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra_scripts.cloudformation import events

STACK = "arn:aws:cloudformation:eu-west-1:1:stack/fruits-q/1"


class Told:
    """CloudFormation, which tells more at each call: ``batches`` of (resource, status, reason)."""

    def __init__(self, *batches: list[tuple[str, ...]]) -> None:
        self.known: list[dict[str, str]] = []
        self.batches = list(batches)

    def get_paginator(self, _: str) -> "Told":
        return self

    def paginate(self, StackName: str) -> Iterator[dict[str, Any]]:
        if self.batches:
            for name, status, *reason in self.batches.pop(0):
                own = name == "stack"
                self.known.append(
                    {
                        "StackId": STACK,
                        "EventId": str(len(self.known)),
                        "LogicalResourceId": "fruits-q" if own else name,
                        "PhysicalResourceId": STACK if own else f"id-of-{name}",
                        "ResourceType": "AWS::CloudFormation::Stack" if own else f"AWS::{name}",
                        "ResourceStatus": status,
                        **({"ResourceStatusReason": reason[0]} if reason else {}),
                    }
                )
        latest_first = self.known[::-1]
        yield {"StackEvents": latest_first[:2]}
        yield {"StackEvents": latest_first[2:]}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POLL_SECONDS", 0)


BEFORE = [
    ("stack", "CREATE_IN_PROGRESS"),
    ("Queue", "CREATE_COMPLETE"),
    ("stack", "CREATE_COMPLETE"),
]


def test_each_event_is_told_once_and_the_stacks_own_end_is_the_end() -> None:
    client: Any = Told(
        BEFORE,
        [("stack", "UPDATE_IN_PROGRESS"), ("Queue", "UPDATE_IN_PROGRESS")],
        [],
        [("Queue", "UPDATE_COMPLETE"), ("stack", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")],
        [("Old", "DELETE_COMPLETE"), ("stack", "UPDATE_COMPLETE")],
        [("stack", "UPDATE_IN_PROGRESS"), ("Queue", "UPDATE_FAILED", "somebody else's")],
    )
    lines: list[str] = []
    ending = events.follow(client, STACK, events.newest(client, STACK), lines.append)
    assert ending == events.Ending("UPDATE_COMPLETE", "", ())
    assert ending.succeeded
    assert lines == [
        "update in progress   Queue (AWS::Queue)",
        "update complete      Queue (AWS::Queue)",
        "delete complete      Old (AWS::Old)",
    ]


def test_of_those_that_fail_the_causes_are_named() -> None:
    client: Any = Told(
        [
            ("stack", "CREATE_IN_PROGRESS"),
            ("Queue", "CREATE_FAILED", "the name\nis taken"),
            ("Role", "CREATE_FAILED", "Resource creation cancelled"),
            ("stack", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed: [Queue]"),
            ("Bucket", "DELETE_FAILED", "not empty"),
            ("stack", "ROLLBACK_FAILED"),
        ]
    )
    lines: list[str] = []
    ending = events.follow(client, STACK, None, lines.append)
    assert not ending.succeeded
    assert ending.status == "ROLLBACK_FAILED"
    assert ending.cause == "Queue (AWS::Queue): the name is taken"
    assert "create failed        Queue (AWS::Queue): the name is taken" in lines
    assert "rolling back: The following resource(s) failed: [Queue]" in lines


def test_without_a_failed_resource_the_stacks_own_reason_is_named() -> None:
    reason = ("stack", "UPDATE_ROLLBACK_IN_PROGRESS", "the caller lacks a permission")
    client: Any = Told([reason, ("stack", "UPDATE_ROLLBACK_COMPLETE")])
    assert events.follow(client, STACK, None, print).cause == "the caller lacks a permission"
    client = Told([("stack", "UPDATE_ROLLBACK_COMPLETE")])
    assert events.follow(client, STACK, None, print).cause == "its events give no reason"


def test_an_operation_that_goes_on_is_followed_from_its_start() -> None:
    client: Any = Told([*BEFORE, ("stack", "UPDATE_IN_PROGRESS"), ("Queue", "UPDATE_COMPLETE")])
    since = events.before_current(client, STACK)
    client.batches = [[("stack", "UPDATE_COMPLETE")]]
    lines: list[str] = []
    assert events.follow(client, STACK, since, lines.append).status == "UPDATE_COMPLETE"
    assert lines == ["update complete      Queue (AWS::Queue)"]
    assert events.before_current(Told([("stack", "CREATE_IN_PROGRESS")]), STACK) is None


def test_a_rollback_that_is_continued_is_followed_to_its_own_end() -> None:
    """Its first event is none of a beginning: what failed before is not its end."""
    failed = [
        *BEFORE,
        ("stack", "UPDATE_IN_PROGRESS"),
        ("stack", "UPDATE_ROLLBACK_IN_PROGRESS"),
        ("stack", "UPDATE_ROLLBACK_FAILED"),
    ]
    client: Any = Told([*failed, ("stack", "UPDATE_ROLLBACK_IN_PROGRESS")])
    since = events.before_current(client, STACK)
    client.batches = [[("stack", "UPDATE_ROLLBACK_COMPLETE")]]
    assert events.follow(client, STACK, since, print).status == "UPDATE_ROLLBACK_COMPLETE"


def test_an_operation_that_has_just_ended_is_not_waited_for() -> None:
    client: Any = Told(
        [*BEFORE, ("stack", "UPDATE_IN_PROGRESS"), ("stack", "UPDATE_COMPLETE")],
    )
    since = events.before_current(client, STACK)
    assert events.follow(client, STACK, since, print).status == "UPDATE_COMPLETE"


def test_ctrl_c_says_how_to_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(events.time, "sleep", interrupt)
    client: Any = Told([("stack", "CREATE_IN_PROGRESS")])
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        events.follow(client, STACK, None, lines.append)
    assert "CloudFormation continues" in lines[-1]
    assert "deploy` again" in lines[-1]
