"""The deployment: how a stack is compared with what exists, created, corrected and deleted.

Nothing is remembered between calls: each reads AWS itself, so a call that failed halfway is simply
repeated.
"""

from collections.abc import Callable
from dataclasses import replace

from infra_scripts import bucket, bucket_settings, log_group, notifications, queues
from infra_scripts.clients import Clients
from infra_scripts.errors import as_stack_errors
from infra_scripts.parts import AnyPart, Change
from infra_scripts.stack import Place, Stack

Say = Callable[[str], None]


def parts(clients: Clients, stack: Stack, place: Place) -> list[AnyPart]:
    """All parts, each after those that it needs."""
    return [
        *queues.parts(clients.sqs, stack, place),
        bucket.part(clients.s3, stack.bucket, place.region),
        *bucket_settings.parts(clients.s3, stack, place),
        notifications.part(clients.s3, stack, place),
        log_group.part(clients.logs, stack.log_group, stack.log_retention_days),
    ]


@as_stack_errors()
def plan(clients: Clients, stack: Stack, place: Place) -> list[Change]:
    """What :func:`deploy` would do; changes nothing. Raises :class:`StackError`."""
    return [part.compare() for part in parts(clients, stack, place)]


@as_stack_errors()
def deploy(clients: Clients, stack: Stack, place: Place, say: Say = print) -> list[Change]:
    """Create what is missing and correct what differs, part by part; ``say`` gets a line for each.

    Returns what was done. Raises :class:`StackError` at the first part that fails: the parts before
    it stay as they are now, and the next call continues from there. A
    :class:`infra_scripts.errors.Conflict` that is seen beforehand leaves everything unchanged.
    """
    every = parts(clients, stack, place)
    # Compare all of them first: conflicts come to light before anything is changed.
    planned = [part.compare() for part in every]
    made = []
    for part, change in zip(every, planned, strict=True):
        made.append(_carry_out(part, change))
        say(made[-1].describe(done=True))
    return made


def _carry_out(part: AnyPart, change: Change) -> Change:
    """The change as it was made: AWS may offer less than was planned."""
    if change.action == "unchanged":
        return change
    written = part.write(change.before, change.after)
    if written is None:
        return change
    return replace(change, after=written, note=part.note(written))


@as_stack_errors()
def messages(clients: Clients, stack: Stack) -> dict[str, int]:
    """The queues that hold messages, which :func:`destroy` would delete; about how many each.

    Raises :class:`StackError`.
    """
    counts = {name: queues.messages(clients.sqs, name) for name in _queues(stack)}
    return {name: count for name, count in counts.items() if count}


@as_stack_errors()
def destroy(clients: Clients, stack: Stack, say: Say = print, *, delete_data: bool = False) -> None:
    """Delete our notifications, the queues and the log group; with ``delete_data`` the bucket too.

    The queues go with their :func:`messages`, events of photos that nothing else remembers. Without
    ``delete_data`` the bucket keeps its objects and its settings. What does not exist is skipped.
    Raises :class:`StackError` at the first failure: what was deleted stays deleted, and the next
    call deletes the rest.
    """
    exists = bucket.exists(clients.s3, stack.bucket, clients.s3.meta.region_name) is not None
    if exists:
        _delete_notifications(clients, stack, say)
    for name in _queues(stack):
        count = queues.delete(clients.sqs, name)
        if count is None:
            say(f"absent    queue {name}")
        else:
            say(f"deleted   queue {name}, with {count} messages in it")
    deleted = log_group.delete(clients.logs, stack.log_group)
    say(f"{'deleted' if deleted else 'absent':<9} log group {stack.log_group}")
    if not exists:
        say(f"absent    bucket {stack.bucket}")
    elif delete_data:
        objects = bucket.delete(clients.s3, stack.bucket)
        say(f"deleted   bucket {stack.bucket}, with {objects} object versions in it")
    else:
        say(f"kept      bucket {stack.bucket} with all that is in it")


def _queues(stack: Stack) -> tuple[str, str]:
    return stack.queue, stack.dead_letter_queue


def _delete_notifications(clients: Clients, stack: Stack, say: Say) -> None:
    label = f"bucket {stack.bucket}: notifications to {stack.queue}"
    before = notifications.read(clients.s3, stack.bucket)
    after = notifications.without(before, stack)
    if after == before:
        say(f"absent    {label}")
        return
    notifications.write(clients.s3, stack.bucket, after)
    say(f"deleted   {label}")
