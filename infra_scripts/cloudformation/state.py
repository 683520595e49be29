"""What CloudFormation knows of a stack: its status, its resources, and what they allow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from common import aws_errors
from infra_scripts.cloudformation import events
from infra_scripts.errors import StackError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import ListStackResourcesOutputTypeDef

Say = Callable[[str], None]

PLANNED = "REVIEW_IN_PROGRESS"  # a plan made a change set for a new stack; nothing exists of it
_NEVER_MADE = {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
_STUCK = {
    "DELETE_FAILED": "its deletion failed, so run `python -m infra_scripts destroy` again",
    "UPDATE_ROLLBACK_FAILED": "an update failed and so did its rollback; correct what its events name, "
    "then: aws cloudformation continue-update-rollback --stack-name {name}",
}


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack as it is: ``resources`` has the physical id of each, by its logical id.

    ``outputs`` are those of its last deployment that succeeded.
    """

    id: str
    name: str
    status: str
    resources: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def is_changing(self) -> bool:
        """Whether an operation is going on, and no other can begin."""
        return self.status.endswith("_IN_PROGRESS") and self.status != PLANNED

    @property
    def was_never_made(self) -> bool:
        """Whether its creation failed: it can only be deleted, and nobody has used it."""
        return self.status in _NEVER_MADE

    def bucket_before(self, bucket: str) -> str:
        """The bucket that it was deployed with, where that is another; else empty."""
        deployed = self.outputs.get("BucketName", "")
        return "" if deployed == bucket else deployed

    @property
    def holds_nothing(self) -> bool:
        """Whether a new stack has to take its place."""
        return self.status == PLANNED or self.was_never_made


def find(client: "CloudFormationClient", name: str) -> Deployed | None:
    """The stack, None where there is none. Raises botocore's errors."""
    try:
        found = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if aws_errors.code_of(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    status = found["StackStatus"]
    resources = {} if status == PLANNED else _resources(client, found["StackId"])
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    return Deployed(found["StackId"], name, status, resources, outputs)


def _resources(client: "CloudFormationClient", stack_id: str) -> dict[str, str]:
    pages: Iterable[ListStackResourcesOutputTypeDef] = client.get_paginator(
        "list_stack_resources"
    ).paginate(StackName=stack_id)
    return {
        each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
        for page in pages
        for each in page["StackResourceSummaries"]
        if each["ResourceStatus"] != "DELETE_COMPLETE" and each.get("PhysicalResourceId")
    }


def followed(client: "CloudFormationClient", name: str, say: Say) -> Deployed | None:
    """The stack once no operation is going on; one that is is followed to its end.

    Raises botocore's errors.
    """
    found = find(client, name)
    while found and found.is_changing:
        say(f"stack {name} is changing already ({found.status}): following it to its end")
        events.follow(client, found.id, events.before_current(client, found.id), say)
        found = find(client, name)
    return found


def check(stack: Deployed | None) -> None:
    """Raise :class:`StackError` for a stack that somebody has to repair first."""
    if stack and (cure := _STUCK.get(stack.status)):
        raise StackError(f"stack {stack.name} is {stack.status}: {cure.format(name=stack.name)}")


def make_way(client: "CloudFormationClient", stack: Deployed | None, say: Say) -> Deployed | None:
    """Delete the stack if a new one has to take its place; the stack that can be changed, or None.

    Raises as :func:`delete`.
    """
    if stack is None or not stack.holds_nothing:
        return stack
    if stack.was_never_made:
        say(f"stack {stack.name} was never completed ({stack.status}): deleting what is left of it")
    delete(client, stack, say)
    return None


def forget(client: "CloudFormationClient", stack_id: str) -> None:
    """Delete a stack of which there are only change sets. Raises botocore's errors."""
    client.delete_stack(StackName=stack_id)
    client.get_waiter("stack_delete_complete").wait(
        StackName=stack_id, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def delete(client: "CloudFormationClient", stack: Deployed, say: Say) -> None:
    """Delete the stack and wait for the end of it.

    Raises :class:`StackError` that names what CloudFormation could not delete, and botocore's errors;
    the next call deletes the rest.
    """
    if stack.status == PLANNED:
        forget(client, stack.id)
        return
    since = events.newest(client, stack.id)
    client.delete_stack(StackName=stack.id)
    ending = events.follow(client, stack.id, since, say)
    if ending.status != "DELETE_COMPLETE":
        raise StackError(f"stack {stack.name} was not deleted ({ending.status}): {ending.cause}")
