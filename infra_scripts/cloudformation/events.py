"""A stack's events: an operation followed to its end, one line for each event of a resource."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import (
        DescribeStackEventsOutputTypeDef,
        StackEventTypeDef,
    )

Say = Callable[[str], None]

POLL_SECONDS = 2
_FOLLOWS_OTHERS = ("Resource creation cancelled", "Resource update cancelled")


@dataclass(frozen=True, slots=True)
class Ending:
    """How an operation ended; ``failures`` are the resources that failed, with CloudFormation's reasons.

    Those that were only cancelled because of them, and what failed afterwards, are not among them.
    """

    status: str
    reason: str
    failures: tuple[str, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the stack is as it should be."""
        return self.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE")

    @property
    def cause(self) -> str:
        """Why it failed, in one line."""
        return "; ".join(self.failures) or self.reason or "its events give no reason"


def newest(client: "CloudFormationClient", stack_id: str) -> str | None:
    """The id of the latest event; what is followed since then is what happens next."""
    return next((event["EventId"] for event in _latest_first(client, stack_id)), None)


def before_current(client: "CloudFormationClient", stack_id: str) -> str | None:
    """The id of the last event before the operation that is going on; None where there is none.

    That is the end of the one before it. One that has ended by now is still followed to its end.
    """
    going_on = False
    for event in filter(_is_own, _latest_first(client, stack_id)):
        if event["ResourceStatus"].endswith("_IN_PROGRESS"):
            going_on = True
        elif going_on:
            return event["EventId"]
    return None


def follow(client: "CloudFormationClient", stack_id: str, since: str | None, say: Say) -> Ending:
    """Say what happens after the event ``since`` until the stack's own last event, which is returned.

    Each event of a resource is a line, as soon as CloudFormation tells. Raises botocore's errors; on
    Ctrl-C it says how to go on, because CloudFormation does. It may be called again.
    """
    told: set[str] = set()
    failures: list[str] = []
    undone = ""
    try:
        while True:
            for event in _after(client, stack_id, since):
                if event["EventId"] in told:
                    continue
                told.add(event["EventId"])
                status = event["ResourceStatus"]
                if not _is_own(event):
                    say(_line(event))
                    failures += [] if undone else _failure(event)
                elif status.endswith("ROLLBACK_IN_PROGRESS"):
                    undone = _reason(event) or status
                    say(f"rolling back: {undone}")
                elif not status.endswith("_IN_PROGRESS"):
                    return Ending(status, undone or _reason(event), tuple(failures))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        say("CloudFormation continues; run `python -m infra_scripts deploy` again to follow it")
        raise


def _latest_first(client: "CloudFormationClient", stack_id: str) -> "Iterator[StackEventTypeDef]":
    pages: Iterable[DescribeStackEventsOutputTypeDef]
    pages = client.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    for page in pages:
        yield from page["StackEvents"]


def _after(
    client: "CloudFormationClient", stack_id: str, since: str | None
) -> "list[StackEventTypeDef]":
    """The events after ``since``, the first of them first."""
    found = []
    for event in _latest_first(client, stack_id):
        if event["EventId"] == since:
            break
        found.append(event)
    return found[::-1]


def _is_own(event: "StackEventTypeDef") -> bool:
    """Whether it is about the stack itself, and not about a resource of it."""
    return event.get("PhysicalResourceId") == event["StackId"]


def _reason(event: "StackEventTypeDef") -> str:
    return " ".join(event.get("ResourceStatusReason", "").split())


def _line(event: "StackEventTypeDef") -> str:
    status = event["ResourceStatus"].lower().replace("_", " ")
    line = f"{status:<20} {event['LogicalResourceId']} ({event['ResourceType']})"
    return f"{line}: {_reason(event)}" if status.endswith("failed") else line


def _failure(event: "StackEventTypeDef") -> list[str]:
    reason = _reason(event)
    if not event["ResourceStatus"].endswith("_FAILED") or reason.startswith(_FOLLOWS_OTHERS):
        return []
    return [f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason}"]
