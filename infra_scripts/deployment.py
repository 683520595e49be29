"""The deployment: a stack compared with what exists, and made as it should be.

CloudFormation makes what a template can declare. By API is done what it cannot: a bucket that exists
is adopted with its settings, our notifications are merged into the bucket's, a log group that exists
gets its retention, and the release is uploaded that the instance installs.

Nothing is remembered between calls: each reads AWS itself, so a call that failed halfway is simply
repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from common import aws
from infra_scripts import (
    bucket,
    bucket_settings,
    existing,
    keys,
    log_group,
    machine_checks,
    notifications,
    release,
)
from infra_scripts.clients import Clients
from infra_scripts.cloudformation import change_sets, state
from infra_scripts.cloudformation.change_sets import ChangeSet
from infra_scripts.errors import Conflict, StackError, as_stack_errors
from infra_scripts.existing import Existing
from infra_scripts.parts import AnyPart, Change
from infra_scripts.release import Archive
from infra_scripts.stack import Place, Stack
from infra_scripts.template.document import MOST_INLINE_BYTES, compact, document
from infra_scripts.template.resource import ANYWHERE

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Task:
    """A stack to deploy, and what was found out about it."""

    clients: Clients
    stack: Stack
    place: Place
    existing: Existing
    archive: Archive | None
    vpc: str

    def seen(self, deployed: state.Deployed | None) -> "_Task":
        """The task now that the stack is this."""
        return replace(self, existing=existing.find(self.clients, self.stack, self.place, deployed))

    def template(self, *, groundwork: bool = False) -> dict[str, Any]:
        """What should exist; ``groundwork`` leaves out all that needs a release."""
        return document(
            self.stack,
            ANYWHERE if self.place.encrypted else replace(ANYWHERE, encrypted=False),
            new_bucket=self.existing.declares_bucket(self.stack),
            new_log_group=self.existing.declares_log_group(self.stack),
            release=self.archive.release if self.archive and not groundwork else None,
        )

    def change_set(self, *, groundwork: bool = False) -> ChangeSet:
        """Have CloudFormation compare the template with the stack."""
        wanted = self.template(groundwork=groundwork)
        text = compact(_bare(wanted))
        if len(text) > MOST_INLINE_BYTES:
            raise StackError(
                f"the template has more than the {MOST_INLINE_BYTES} bytes that may be sent: choose "
                "shorter names for the bucket, its prefixes, the queues and the log group"
            )
        return change_sets.create(
            self.clients.cloudformation,
            self.stack.name,
            text,
            {"Vpc": self.vpc} if "Parameters" in wanted else {},
            is_new=self.existing.deployed is None,
        )

    def parts(self) -> list[AnyPart]:
        """What is set up by API, each part after those that it needs."""
        s3, logs = self.clients.s3, self.clients.logs
        parts: list[AnyPart] = []
        if not self.existing.declares_bucket(self.stack):
            parts += bucket_settings.parts(s3, self.stack, self.place)
        if not self.existing.declares_log_group(self.stack):
            parts.append(log_group.part(logs, self.stack.log_group, self.stack.log_retention_days))
        parts.append(notifications.part(s3, self.stack, self.place))
        deployed = self.existing.deployed
        if deployed and (name := deployed.bucket_before(self.stack.bucket)):
            parts.append(notifications.left(s3, self.stack, name))
        return parts


def _bare(template: dict[str, Any]) -> dict[str, Any]:
    """The template without its explanations, which are for readers of ``template``.

    There is little room, and another wording would be a change of the stack.
    """
    resources = {
        name: {member: value for member, value in each.items() if member != "Metadata"}
        for name, each in template["Resources"].items()
    }
    others = {name: value for name, value in template.items() if name != "Metadata"}
    return others | {"Resources": resources}


def _prepare(
    clients: Clients,
    stack: Stack,
    place: Place,
    deployed: state.Deployed | None,
    archive: Archive | None,
) -> _Task:
    """Find out what there is. Raises :class:`StackError` for what would fail; nothing is changed."""
    if stack.instance.type and archive is None:
        raise StackError("an instance needs a release to install: pass its archive")
    state.check(deployed)
    vpc = machine_checks.vpc_of(stack, place) if stack.instance.type else ""
    found = existing.find(clients, stack, place, deployed)
    if archive and deployed and not deployed.holds_nothing and not found.has_bucket:
        raise Conflict(
            f"bucket {stack.bucket} does not exist, and what the instance installs must be in it "
            f"before this stack is changed: create it (aws s3 mb s3://{stack.bucket} --region "
            f"{place.region}) and deploy again"
        )
    return _Task(clients, keys.with_keys(clients, stack), place, found, archive, vpc)


@as_stack_errors()
def plan(
    clients: Clients,
    stack: Stack,
    place: Place,
    say: Say = print,
    *,
    archive: Archive | None = None,
) -> list[Change]:
    """What :func:`deploy` would do; changes nothing. ``say`` gets what else the operator should know.

    For that CloudFormation makes a change set, which is deleted again. Raises :class:`StackError`.
    """
    deployed = state.find(clients.cloudformation, stack.name)
    if deployed and deployed.is_changing:
        raise StackError(
            f"stack {stack.name} is {deployed.status}: wait for its end, or deploy, which follows it"
        )
    task = _prepare(clients, stack, place, deployed, archive)
    compared = [part.compare() for part in task.parts()]
    if deployed and deployed.was_never_made:
        say(f"stack {stack.name} was never completed: deploy deletes it first; this is without it")
    if deployed and deployed.holds_nothing:
        made = task.template()["Resources"].items()
        return [
            *(Change(f"{name} ({each['Type']})", "create", None, each) for name, each in made),
            *compared,
        ]
    change_set = task.change_set()
    change_sets.discard(clients.cloudformation, change_set)
    for note in _notes(stack, change_set):
        say(note)
    return [*_changes(stack, change_set), *compared]


@as_stack_errors()
def deploy(
    clients: Clients,
    stack: Stack,
    place: Place,
    say: Say = print,
    *,
    archive: Archive | None = None,
) -> list[Change]:
    """Create what is missing and correct what differs; ``say`` gets a line for each step.

    ``archive`` is what the instance installs; it may be left out where there is no instance. A new
    bucket must exist before the archive is in it, and the archive before the instance: a new stack then
    takes two change sets, of which the first has all but the instance.

    Returns what was done. Raises :class:`StackError`: what CloudFormation could not do it rolled back,
    what was done before stays, and the next call continues from there. A
    :class:`infra_scripts.errors.Conflict` that is seen beforehand leaves everything unchanged.
    """
    task = _prepare(
        clients, stack, place, state.followed(clients.cloudformation, stack.name, say), archive
    )
    for part in task.parts():
        part.compare()  # conflicts come to light before anything is changed
    deployed = state.make_way(clients.cloudformation, task.existing.deployed, say)
    if deployed is not task.existing.deployed:
        task = task.seen(deployed)
    done: list[Change] = []
    if archive:
        if not task.existing.has_bucket:
            done += _change_stack(task, say, groundwork=True)
            task = task.seen(state.find(clients.cloudformation, stack.name))
        if release.upload(clients.s3, stack.bucket, archive):
            say(f"uploaded  s3://{stack.bucket}/{archive.release.key}")
    done += _change_stack(task, say)
    _check_presence(task)
    for part in task.parts():
        done.append(_carry_out(part, part.compare()))
        say(done[-1].describe(done=True))
    if archive:
        for key in release.prune(clients.s3, stack, archive.release):
            say(f"deleted   s3://{stack.bucket}/{key}, an old release")
    return done


def _change_stack(task: _Task, say: Say, *, groundwork: bool = False) -> list[Change]:
    """Have CloudFormation make what the template declares. What it changed is returned."""
    client, stack = task.clients.cloudformation, task.stack
    change_set = task.change_set(groundwork=groundwork)
    for note in [] if groundwork else _notes(stack, change_set):
        say(note)
    changes = _changes(stack, change_set)
    if change_set.changes:
        change_sets.execute(client, change_set, say)
    for change in changes:
        if change.action != "create":  # of which the event says all
            say(change.describe(done=True))
    return changes


def _changes(stack: Stack, change_set: ChangeSet) -> list[Change]:
    unchanged = Change(f"stack {stack.name}", "unchanged", None, None)
    return list(change_set.changes) or [unchanged]


def _notes(stack: Stack, change_set: ChangeSet) -> list[str]:
    notes = [f"stack {stack.name}: {note}" for note in change_sets.notes(change_set)]
    return [*filter(None, [machine_checks.warning(stack)]), *notes]


def _check_presence(task: _Task) -> None:
    """Raise :class:`Conflict` for what CloudFormation takes for there, but somebody has deleted."""
    stack, clients = task.stack, task.clients
    gone = [
        f"queue {name}"
        for name in (stack.queue, stack.dead_letter_queue)
        if aws.queue_url(clients.sqs, name) is None
    ]
    if bucket.exists(clients.s3, stack.bucket, task.place.region) is None:
        gone.append(f"bucket {stack.bucket}")
    if gone:
        raise Conflict(
            f"{' and '.join(gone)} of the stack {stack.name} was deleted by hand, and this "
            "CloudFormation does not restore it: destroy the stack and deploy again; that keeps the "
            "bucket"
        )


def _carry_out(part: AnyPart, change: Change) -> Change:
    """The change as it was made: AWS may offer less than was planned."""
    if change.action == "unchanged":
        return change
    written = part.write(change.before, change.after)
    if written is None:
        return change
    return replace(change, after=written, note=part.note(written))
