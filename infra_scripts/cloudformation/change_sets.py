"""Change sets: what a template would change of a stack, and the execution of exactly that."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from common import aws_errors
from infra_scripts.cloudformation import events, state
from infra_scripts.errors import StackError
from infra_scripts.parts import Action, Change

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import (
        ChangeTypeDef,
        DescribeChangeSetOutputTypeDef,
        ResourceChangeTypeDef,
    )

POLL_SECONDS = 1
# How CloudFormation and others that speak its language say that there is nothing to do.
_NOTHING = ("didn't contain changes", "no updates are to be performed", "no changes")
_ACTIONS: dict[str, Action] = {
    "Add": "create",
    "Import": "create",
    "Modify": "update",
    "Dynamic": "update",
    "SyncWithActual": "update",
    "Remove": "delete",
}
_UNAWARE = (
    "compared with what was deployed last: this CloudFormation does not look for what was changed by "
    "hand since"
)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A change set of a stack, which is not executed yet; empty where there is nothing to change."""

    id: str
    stack: str
    stack_id: str
    is_new: bool
    changes: tuple[Change, ...]
    sees_drift: bool


def create(
    client: "CloudFormationClient",
    name: str,
    template: str,
    parameters: Mapping[str, str],
    *,
    is_new: bool,
) -> ChangeSet:
    """Have CloudFormation compare ``template`` with the stack ``name``, or with nothing if it is new.

    Of an existing stack it also reverts what was changed by hand, where this CloudFormation can tell.
    Nothing is changed yet: :func:`execute` or :func:`discard` it. Raises :class:`StackError` for a
    template that CloudFormation refuses, and botocore's errors.
    """
    request: dict[str, Any] = {
        "StackName": name,
        "ChangeSetName": f"fruits-{uuid.uuid4().hex[:12]}",
        "ChangeSetType": "CREATE" if is_new else "UPDATE",
        "TemplateBody": template,
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
        ],
        "Capabilities": ["CAPABILITY_IAM"],
    }
    try:
        made = _request(client, request, is_new=is_new)
    except ClientError as error:
        if not is_new and _says_nothing(aws_errors.message_of(error)):
            return ChangeSet("", name, "", is_new, (), sees_drift=False)
        raise
    answer, changes = _wait(client, {"StackName": name, "ChangeSetName": made["Id"]})
    found = ChangeSet(
        made["Id"],
        name,
        made["StackId"],
        is_new,
        tuple(changes),
        bool(answer.get("DeploymentMode")),
    )
    if answer["Status"] == "FAILED":
        reason = " ".join(answer.get("StatusReason", "").split())
        discard(client, found)
        if not _says_nothing(reason):
            raise StackError(f"CloudFormation refuses the template of stack {name}: {reason}")
        return replace(found, id="", changes=())
    return found


def _request(client: "CloudFormationClient", request: dict[str, Any], *, is_new: bool) -> Any:
    """A change set that sees drift, else, where that is not known, one that does not."""
    if is_new:
        return client.create_change_set(**request)
    try:
        return client.create_change_set(**request, DeploymentMode="REVERT_DRIFT")
    except ClientError as error:
        words = aws_errors.message_of(error).lower().replace(" ", "")
        if "deploymentmode" not in words and "revert_drift" not in words:
            raise
    return client.create_change_set(**request)


def _wait(
    client: "CloudFormationClient", named: dict[str, str]
) -> "tuple[DescribeChangeSetOutputTypeDef, list[Change]]":
    """The finished change set, and all that it would change."""
    while True:
        answer = _page(client, named)
        if answer["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
            break
        time.sleep(POLL_SECONDS)
    found: list[ChangeTypeDef] = list(answer.get("Changes", []))
    page = answer
    while token := page.get("NextToken"):
        page = _page(client, {**named, "NextToken": token})
        found += page.get("Changes", [])
    return answer, [_change(each["ResourceChange"]) for each in found if "ResourceChange" in each]


def _page(
    client: "CloudFormationClient", named: dict[str, str]
) -> "DescribeChangeSetOutputTypeDef":
    request: Any = {**named, "IncludePropertyValues": True}
    answer: DescribeChangeSetOutputTypeDef = client.describe_change_set(**request)
    return answer


def _says_nothing(reason: str) -> bool:
    return any(words in reason.lower() for words in _NOTHING)


def notes(change_set: ChangeSet) -> list[str]:
    """What the operator should know about the comparison."""
    return [] if change_set.is_new or change_set.sees_drift else [_UNAWARE]


def execute(
    client: "CloudFormationClient", change_set: ChangeSet, say: Callable[[str], None]
) -> None:
    """Make the changes; returns once CloudFormation is done. ``say`` gets a line for each event.

    Raises :class:`StackError` that names the resource that failed and why: everything is then as it was
    before, or the message says that the rollback failed too. Raises botocore's errors; where the answer
    was lost, CloudFormation may have begun, and the next deployment follows it.
    """
    since = events.newest(client, change_set.stack_id)
    client.execute_change_set(
        StackName=change_set.stack,
        ChangeSetName=change_set.id,
        RetainExceptOnCreate=True,  # a rollback must not leave a bucket that it has just made
    )
    ending = events.follow(client, change_set.stack_id, since, say)
    if not ending.succeeded:
        undone = "rolled back" if ending.status.endswith("ROLLBACK_COMPLETE") else ending.status
        raise StackError(f"stack {change_set.stack} was not deployed ({undone}): {ending.cause}")


def discard(client: "CloudFormationClient", change_set: ChangeSet) -> None:
    """Delete the change set, and the stack that was made to hold it. Raises botocore's errors."""
    if not change_set.id:
        return
    client.delete_change_set(StackName=change_set.stack, ChangeSetName=change_set.id)
    if change_set.is_new:
        state.forget(client, change_set.stack_id)


def _change(change: "ResourceChangeTypeDef") -> Change:
    """One line for the operator, with what differs."""
    action = _ACTIONS.get(change["Action"], "update")
    replacement = change.get("Replacement", "")
    if action == "update" and replacement == "True":
        action = "replace"
    physical = change.get("PhysicalResourceId", "")
    name = f"{change['LogicalResourceId']} ({change['ResourceType']})"
    before: dict[str, object] = {}
    after: dict[str, object] = {}
    for detail in change.get("Details", []):
        target = detail.get("Target", {})
        path = target.get("Path") or target.get("Name") or target.get("Attribute", "")
        before[path] = target.get("BeforeValue")
        after[path] = target.get("AfterValue", "computed while it is deployed")
    return Change(
        f"{name} {physical.rpartition('/')[2]}".rstrip(),
        action,
        before,
        after,
        _note(change, replacement),
    )


def _note(change: "ResourceChangeTypeDef", replacement: str) -> str:
    words: Iterable[tuple[bool, str]] = (
        (replacement == "Conditional", "may be replaced by another"),
        (change["Action"] == "Dynamic", "decided while it is deployed"),
        (change["Action"] == "Import", "exists, and is taken into the stack"),
        (change["Action"] == "SyncWithActual", "is so already"),
        (change.get("PolicyAction", "").endswith("Retain"), "the one that exists is kept"),
        (change.get("ResourceDriftStatus") == "MODIFIED", "was changed by hand"),
        (change.get("ResourceDriftStatus") == "DELETED", "was deleted by hand"),
    )
    return "; ".join(text for applies, text in words if applies)
