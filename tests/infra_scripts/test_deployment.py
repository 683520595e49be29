"""The deployment on the embedded AWS: it converges from anywhere, and a failure is one line."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from common.aws import queue_url
from infra_scripts import notifications, release
from infra_scripts.clients import Clients
from infra_scripts.cloudformation import state
from infra_scripts.deployment import deploy, plan
from infra_scripts.destruction import destroy
from infra_scripts.errors import Conflict, Denied, StackError, Unreachable
from infra_scripts.stack import Instance, Place, Stack
from infra_scripts.template.document import MOST_INLINE_BYTES
from tests.support.aws import DeployedStack
from tests.support.watched import actions, create_bucket, instead, quiet, recorded

CUT = ConnectionClosedError(endpoint_url="http://aws")
PLANNING = ["CreateChangeSet", "DeleteChangeSet"]


@pytest.fixture(params=[False, True], ids=["http", "https"])
def place(clients: Clients, request: pytest.FixtureRequest) -> Place:
    """The embedded AWS, as it is and as if it were reached over TLS."""
    return dataclasses.replace(clients.place(), encrypted=request.param)


def test_deploys_once(clients: Clients, wanted: Stack, place: Place) -> None:
    with recorded(clients) as called:
        assert actions(plan(clients, wanted, place, say=quiet)) == {"create"}
    assert called == [*PLANNING, "DeleteStack"]  # that of the change set, which has no resources
    assert state.find(clients.cloudformation, wanted.name) is None
    assert actions(deploy(clients, wanted, place, say=quiet)) == {"create"}
    with recorded(clients) as called:
        assert actions(plan(clients, wanted, place, say=quiet)) == {"unchanged"}
        assert actions(deploy(clients, wanted, place, say=quiet)) == {"unchanged"}
    assert called == PLANNING * 2


@pytest.mark.parametrize("adopted", [False, True])
def test_converges_after_a_failure_at_each_step(
    clients: Clients, wanted: Stack, here: Place, adopted: bool
) -> None:
    steps = ["CreateChangeSet", "DescribeChangeSet", "ExecuteChangeSet", "DescribeStackEvents"]
    if adopted:
        create_bucket(clients, wanted.bucket, here.region)
        clients.logs.create_log_group(logGroupName=wanted.log_group)
        steps += ["PutPublicAccessBlock", "PutBucketOwnershipControls", "PutBucketEncryption"]
        steps += ["PutBucketLifecycleConfiguration", "PutRetentionPolicy"]
    for step in [*steps, "PutBucketNotificationConfiguration"]:
        with instead(clients, step, CUT), pytest.raises(Unreachable, match="http://aws"):
            deploy(clients, wanted, here, say=quiet)
    deploy(clients, wanted, here, say=quiet)
    assert actions(plan(clients, wanted, here, say=quiet)) == {"unchanged"}
    if adopted:
        destroy(clients, wanted, say=quiet)
        clients.logs.delete_log_group(logGroupName=wanted.log_group)


def test_what_changes_is_shown_made_and_told(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    longer = dataclasses.replace(stack.stack, visibility_timeout_seconds=90, log_retention_days=7)
    planned = plan(clients, longer, here, say=quiet)
    assert {each.part.split()[0] for each in planned if each.action == "update"} == {
        "Queue",
        "LogGroup",
    }
    lines: list[str] = []
    deploy(clients, longer, here, say=lines.append)
    assert "update complete      Queue (AWS::SQS::Queue)" in lines
    assert "updated   Queue (AWS::SQS::Queue)" in lines
    answer = stack.sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=["All"])
    assert answer["Attributes"]["VisibilityTimeout"] == "90"
    assert "Policy" in answer["Attributes"]
    assert actions(plan(clients, longer, here, say=quiet)) == {"unchanged"}


def test_a_bucket_that_the_stack_made_stays_in_it(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    stack.put("photos/a.jpg")
    other = dataclasses.replace(stack.stack, max_receives=7)
    deploy(clients, other, here, say=quiet)
    found = state.find(clients.cloudformation, other.name)
    assert found
    assert found.resources["Bucket"] == stack.bucket


def test_a_bucket_that_was_kept_is_adopted(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    stack.put("photos/a.jpg")
    destroy(clients, stack.stack, say=quiet)
    changed = deploy(clients, stack.stack, here, say=quiet)
    assert {each.part.split(":")[0] for each in changed if each.action == "unchanged"} == {
        f"bucket {stack.bucket}"
    }
    found = state.find(clients.cloudformation, stack.stack.name)
    assert found
    assert "Bucket" not in found.resources


@contextmanager
def just_before(clients: Clients, operation: str, act: Callable[[], object]) -> Iterator[None]:
    """Somebody does something between the comparison and ``operation``."""

    def done(**_: object) -> None:
        act()

    event = f"before-call.cloudformation.{operation}"
    clients.cloudformation.meta.events.register(event, done)
    try:
        yield
    finally:
        clients.cloudformation.meta.events.unregister(event, done)


def test_a_failed_creation_is_undone_and_names_the_resource(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    def take_the_name() -> None:
        clients.logs.create_log_group(logGroupName=wanted.log_group)

    lines: list[str] = []
    words = r"rolled back\): LogGroup \(AWS::Logs::LogGroup\): .*already exists"
    taken = just_before(clients, "ExecuteChangeSet", take_the_name)
    with taken, pytest.raises(StackError, match=words):
        deploy(clients, wanted, here, say=lines.append)
    assert any(line.startswith("create failed        LogGroup") for line in lines)
    assert any(line.startswith("rolling back: ") for line in lines)
    assert queue_url(clients.sqs, wanted.queue) is None
    found = state.find(clients.cloudformation, wanted.name)
    assert found
    assert found.was_never_made
    clients.logs.delete_log_group(logGroupName=wanted.log_group)
    assert "create" in actions(plan(clients, wanted, here, say=lines.append))
    assert "was never completed: deploy deletes it first" in lines[-1]
    deploy(clients, wanted, here, say=lines.append)
    assert any("deleting what is left of it" in line for line in lines)
    assert actions(plan(clients, wanted, here, say=quiet)) == {"unchanged"}


@pytest.mark.parametrize("undone", [False, True])
def test_a_failed_update_is_undone_or_says_how_to_repair_it(
    clients: Clients, stack: DeployedStack, here: Place, undone: bool
) -> None:
    def meddle() -> None:
        if undone:
            stack.s3.delete_bucket(Bucket=stack.bucket)
        else:
            stack.clients.logs.delete_log_group(logGroupName=stack.stack.log_group)

    secure = dataclasses.replace(here, encrypted=True)  # a policy of the bucket is added
    other = dataclasses.replace(stack.stack, log_retention_days=30 if undone else 7)
    words = r"\(rolled back\): BucketPolicy" if undone else r"\(UPDATE_ROLLBACK_FAILED\): LogGroup"
    meddling = just_before(clients, "ExecuteChangeSet", meddle)
    with meddling, pytest.raises(StackError, match=words):
        deploy(clients, other, secure, say=quiet)
    if not undone:
        with pytest.raises(StackError, match=r"continue-update-rollback --stack-name fruits-"):
            deploy(clients, other, secure, say=quiet)
        clients.logs.create_log_group(logGroupName=stack.stack.log_group)


DELETED: dict[str, Any] = {
    "queue": lambda s: s.sqs.delete_queue(QueueUrl=s.queue_url),
    "queue of dead letters": lambda s: s.sqs.delete_queue(QueueUrl=s.dead_letter_queue_url),
}


@pytest.mark.parametrize("what", DELETED)
def test_what_was_deleted_by_hand_and_is_not_restored_is_named(
    clients: Clients, stack: DeployedStack, here: Place, what: str
) -> None:
    DELETED[what](stack)
    lines: list[str] = []
    with pytest.raises(Conflict, match=r"was deleted by hand.*destroy the stack and deploy again"):
        deploy(clients, stack.stack, here, say=lines.append)
    assert any("does not look for what was changed by hand" in line for line in lines)
    destroy(clients, stack.stack, say=quiet)
    deploy(clients, stack.stack, here, say=quiet)


def test_drift_is_reverted_where_cloudformation_can(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    requests: list[dict[str, Any]] = []
    event = "provide-client-params.cloudformation.CreateChangeSet"

    def note(params: dict[str, Any], **_: object) -> None:
        requests.append(params)

    clients.cloudformation.meta.events.register(event, note)
    try:
        plan(clients, stack.stack, here, say=quiet)
    finally:
        clients.cloudformation.meta.events.unregister(event, note)
    assert [each["DeploymentMode"] for each in requests] == ["REVERT_DRIFT"]


def archive(stack: Stack, data: bytes) -> release.Archive:
    digest = hashlib.sha256(data).hexdigest()
    key = f"{stack.layout.releases}{digest}.tar.gz"
    return release.Archive(release.Release(key=key, sha256=digest), data)


@pytest.mark.parametrize("adopted", [False, True])
def test_the_release_is_uploaded_before_the_instance_is_made(
    clients: Clients, wanted: Stack, here: Place, adopted: bool
) -> None:
    if adopted:
        create_bucket(clients, wanted.bucket, here.region)
    machine = dataclasses.replace(wanted, instance=Instance(type="c7i.xlarge"))
    first = archive(wanted, b"code")
    planned = plan(clients, machine, here, say=quiet, archive=first)
    assert "Instance (AWS::EC2::Instance)" in {each.part for each in planned}
    with recorded(clients) as called:
        deploy(clients, machine, here, say=quiet, archive=first)
    groundwork = [] if adopted else ["CreateChangeSet"]
    assert [each for each in called if each in ("CreateChangeSet", "PutObject")] == [
        *groundwork,
        "PutObject",
        "CreateChangeSet",
    ]
    assert actions(plan(clients, machine, here, say=quiet, archive=first)) == {"unchanged"}
    with recorded(clients) as called:
        deploy(clients, machine, here, say=quiet, archive=archive(wanted, b"newer code"))
    assert [each for each in called if each in ("CreateChangeSet", "PutObject")] == [
        "PutObject",
        "CreateChangeSet",
    ]
    with pytest.raises(StackError, match="pass its archive"):
        deploy(clients, machine, here, say=quiet)


def renamed(stack: Stack, bucket: str) -> Stack:
    return dataclasses.replace(stack, layout=dataclasses.replace(stack.layout, bucket=bucket))


def test_a_bucket_that_the_stack_leaves_sends_it_no_events(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    moved = renamed(stack.stack, f"{stack.bucket}-other")
    create_bucket(clients, moved.bucket, here.region)
    theirs: Any = {
        "Id": "theirs",
        "QueueArn": here.queue_arn(moved.dead_letter_queue),
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "other/"}]}},
    }
    ours = notifications.read(clients.s3, stack.bucket)["QueueConfigurations"]
    notifications.write(clients.s3, stack.bucket, {"QueueConfigurations": [*ours, theirs]})
    lines: list[str] = []
    left = f"bucket {stack.bucket}, which the stack leaves: notifications to {moved.queue}"
    planned = plan(clients, moved, here, say=quiet)
    assert left in [each.part for each in planned if each.action == "update"]
    deploy(clients, moved, here, say=lines.append)
    assert any(line.startswith(f"updated   {left}") for line in lines)
    (kept,) = notifications.read(clients.s3, stack.bucket)["QueueConfigurations"]
    assert kept.get("Id") == "theirs"
    assert "QueueConfigurations" in notifications.read(clients.s3, moved.bucket)
    assert actions(plan(clients, moved, here, say=quiet)) == {"unchanged"}
    destroy(clients, moved, say=quiet, delete_data=True)


def test_a_bucket_that_may_not_be_read_any_more_is_named(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    moved = renamed(stack.stack, f"{stack.bucket}-other")
    create_bucket(clients, moved.bucket, here.region)
    lines: list[str] = []
    refuse = instead(clients, "GetBucketNotificationConfiguration", (403, "AccessDenied"))
    part = notifications.left(clients.s3, moved, stack.bucket)
    with refuse:
        change = part.compare()
    assert change.action == "unchanged"
    assert f"remove the configuration '{moved.notification_id}'" in change.note
    assert part.compare().note == ""
    destroy(clients, moved, say=lines.append, delete_data=True)
    assert any(line.startswith(f"updated   bucket {stack.bucket}, which") for line in lines)
    assert notifications.read(clients.s3, stack.bucket) == {}


def test_a_deployed_instance_does_not_make_way_for_a_new_bucket(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    """The groundwork that makes a bucket has no instance, so it would delete the one that works."""
    machine = dataclasses.replace(stack.stack, instance=Instance(type="c7i.xlarge"))
    deploy(clients, machine, here, say=quiet, archive=archive(machine, b"code"))
    moved = renamed(machine, f"{stack.bucket}-other")
    packed = archive(moved, b"code")
    for act in (plan, deploy):
        with pytest.raises(Conflict, match=f"aws s3 mb s3://{moved.bucket} --region eu-west-1"):
            act(clients, moved, here, say=quiet, archive=packed)
    create_bucket(clients, moved.bucket, here.region)
    lines: list[str] = []
    deploy(clients, moved, here, say=lines.append, archive=packed)
    assert not any(line.startswith("delete complete      Alarm") for line in lines)
    destroy(clients, moved, say=quiet, delete_data=True)


@pytest.mark.parametrize(
    ("operation", "answer", "error", "words"),
    [
        ("HeadBucket", (403, "403"), Conflict, "belongs to somebody else"),
        ("CreateChangeSet", (403, "AccessDenied"), Denied, "cloudformation:CreateChangeSet"),
        ("ExecuteChangeSet", (403, "AccessDenied"), Denied, "cloudformation:ExecuteChangeSet"),
        ("DescribeLogGroups", (400, "AccessDeniedException"), Denied, "logs:DescribeLogGroups"),
        ("DescribeStacks", (403, "InvalidClientTokenId"), Denied, "renew or correct them"),
        ("CreateChangeSet", (501, "NotImplemented"), StackError, "CreateChangeSet failed"),
    ],
)
def test_a_refusal_is_one_line(
    clients: Clients,
    wanted: Stack,
    here: Place,
    operation: str,
    answer: tuple[int, str],
    error: type[StackError],
    words: str,
) -> None:
    with instead(clients, operation, answer), pytest.raises(error, match=words) as raised:
        deploy(clients, wanted, here, say=quiet)
    assert "\n" not in str(raised.value)


def test_the_template_is_small_enough_to_send(clients: Clients, wanted: Stack, here: Place) -> None:
    """Of 51,200 bytes a fifth is left for what longer names take."""
    bodies: list[str] = []
    event = "provide-client-params.cloudformation.CreateChangeSet"

    def note(params: dict[str, Any], **_: object) -> None:
        bodies.append(params["TemplateBody"])

    clients.cloudformation.meta.events.register(event, note)
    machine = dataclasses.replace(wanted, instance=Instance(type="t2.xlarge"))
    try:
        plan(clients, machine, here, say=quiet, archive=archive(wanted, b"code"))
    finally:
        clients.cloudformation.meta.events.unregister(event, note)
    [body] = bodies
    assert "Metadata" not in json.loads(body)
    assert len(body.encode()) < 0.8 * MOST_INLINE_BYTES
