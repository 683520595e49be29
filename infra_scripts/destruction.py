"""The destruction: a stack deleted, and its data only by its name."""

from collections.abc import Callable

from common import aws
from infra_scripts import bucket, log_group, notifications, queues
from infra_scripts.clients import Clients
from infra_scripts.cloudformation import state
from infra_scripts.errors import as_stack_errors
from infra_scripts.parts import AnyPart
from infra_scripts.stack import Stack

Say = Callable[[str], None]


@as_stack_errors()
def messages(clients: Clients, stack: Stack) -> dict[str, int]:
    """The queues that hold messages, which :func:`destroy` would delete; about how many each.

    Raises :class:`StackError`.
    """
    deployed = state.find(clients.cloudformation, stack.name)
    counts = {
        name: queues.messages(clients.sqs, name)
        for logical, name in _queues(stack).items()
        if deployed and logical in deployed.resources
    }
    return {name: count for name, count in counts.items() if count}


@as_stack_errors()
def destroy(clients: Clients, stack: Stack, say: Say = print, *, delete_data: bool = False) -> None:
    """Delete our notifications and the CloudFormation stack; with ``delete_data`` the bucket too.

    The queues go with their :func:`messages`, events of photos that nothing else remembers. Without
    ``delete_data`` the bucket keeps its objects and its settings, whether the stack made it or not. What
    does not exist is skipped. Raises :class:`StackError` at the first failure: what was deleted stays
    deleted, and the next call deletes the rest.
    """
    exists = bucket.exists(clients.s3, stack.bucket, clients.s3.meta.region_name) is not None
    if exists:
        _delete_notifications(clients, stack, say)
    _leave_bucket(clients, stack, say)
    _delete_stack(clients, stack, say)
    if not exists:
        say(f"absent    bucket {stack.bucket}")
    elif delete_data:
        objects = bucket.delete(clients.s3, stack.bucket)
        say(f"deleted   bucket {stack.bucket}, with {objects} object versions in it")
    else:
        say(f"kept      bucket {stack.bucket} with all that is in it")


def _leave_bucket(clients: Clients, stack: Stack, say: Say) -> None:
    """Delete our notifications of the bucket of the last deployment too, where it was another."""
    deployed = state.find(clients.cloudformation, stack.name)
    if deployed and (name := deployed.bucket_before(stack.bucket)):
        left: AnyPart = notifications.left(clients.s3, stack, name)
        change = left.compare()
        if change.action != "unchanged":
            left.write(change.before, change.after)
        say(change.describe(done=True))


def _delete_stack(clients: Clients, stack: Stack, say: Say) -> None:
    client = clients.cloudformation
    deployed = state.followed(client, stack.name, say)
    if deployed is None:
        say(f"absent    stack {stack.name}")
    else:
        counts = {name: queues.messages(clients.sqs, name) or 0 for name in _queues(stack).values()}
        state.delete(client, deployed, say)
        say(f"deleted   stack {stack.name}")
        for logical, name in _queues(stack).items():
            if logical in deployed.resources:
                say(f"deleted   queue {name}, with {counts[name]} messages in it")
    for name in _queues(stack).values():
        if not (deployed and deployed.resources) and aws.queue_url(clients.sqs, name):
            say(f"kept      queue {name}, which is not part of the stack")
    if log_group.find(clients.logs, stack.log_group):
        say(f"kept      log group {stack.log_group}, which is not part of the stack")


def _queues(stack: Stack) -> dict[str, str]:
    """The names of the queues by their logical ids."""
    return {"Queue": stack.queue, "DeadLetterQueue": stack.dead_letter_queue}


def _delete_notifications(clients: Clients, stack: Stack, say: Say) -> None:
    label = f"bucket {stack.bucket}: notifications to {stack.queue}"
    before = notifications.read(clients.s3, stack.bucket)
    after = notifications.without(before, stack)
    if after == before:
        say(f"absent    {label}")
        return
    notifications.write(clients.s3, stack.bucket, after)
    say(f"deleted   {label}")
