"""The deployment on the embedded AWS: it converges from anywhere, and a failure is one line."""

import dataclasses
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from common.aws import queue_url
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, destroy, parts, plan
from infra_scripts.errors import Conflict, Denied, StackError, Unreachable
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack
from tests.support.watched import actions, instead, quiet, recorded

STEPS = (
    "CreateQueue",
    "CreateBucket",
    "PutPublicAccessBlock",
    "PutBucketOwnershipControls",
    "PutBucketEncryption",
    "PutBucketLifecycleConfiguration",
    "PutBucketNotificationConfiguration",
    "CreateLogGroup",
    "PutRetentionPolicy",
)


@pytest.fixture(params=[False, True], ids=["http", "https"])
def place(clients: Clients, request: pytest.FixtureRequest) -> Place:
    """The embedded AWS, as it is and as if it were reached over TLS."""
    return dataclasses.replace(clients.place(), encrypted=request.param)


def test_deploys_once(clients: Clients, wanted: Stack, place: Place) -> None:
    with recorded(clients) as called:
        assert actions(plan(clients, wanted, place)) <= {"create", "unchanged"}
    assert called == []
    assert "create" in actions(deploy(clients, wanted, place, say=quiet))
    assert actions(plan(clients, wanted, place)) == {"unchanged"}
    with recorded(clients) as called:
        assert actions(deploy(clients, wanted, place, say=quiet)) == {"unchanged"}
    assert called == []


def test_converges_after_a_failure_at_each_step(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    cut = ConnectionClosedError(endpoint_url="http://aws")
    for step in STEPS:
        with instead(clients, step, cut), pytest.raises(Unreachable, match="http://aws"):
            deploy(clients, wanted, here, say=quiet)
    deploy(clients, wanted, here, say=quiet)
    assert actions(plan(clients, wanted, here)) == {"unchanged"}


DRIFTS: dict[str, Any] = {
    "public access": lambda s: s.s3.delete_public_access_block(Bucket=s.bucket),
    "ownership": lambda s: s.s3.delete_bucket_ownership_controls(Bucket=s.bucket),
    "encryption": lambda s: s.s3.delete_bucket_encryption(Bucket=s.bucket),
    "lifecycle": lambda s: s.s3.delete_bucket_lifecycle(Bucket=s.bucket),
    "notifications": lambda s: s.s3.put_bucket_notification_configuration(
        Bucket=s.bucket, NotificationConfiguration={}
    ),
    "visibility": lambda s: s.sqs.set_queue_attributes(
        QueueUrl=s.queue_url, Attributes={"VisibilityTimeout": "7"}
    ),
    "redrive": lambda s: s.sqs.set_queue_attributes(
        QueueUrl=s.queue_url, Attributes={"RedrivePolicy": ""}
    ),
    "queue policy": lambda s: s.sqs.set_queue_attributes(
        QueueUrl=s.queue_url, Attributes={"Policy": ""}
    ),
    "queue": lambda s: s.sqs.delete_queue(QueueUrl=s.queue_url),
    "dead letters": lambda s: s.sqs.delete_queue(QueueUrl=s.dead_letter_queue_url),
    "retention": lambda s: s.clients.logs.delete_retention_policy(logGroupName=s.stack.log_group),
    "log group": lambda s: s.clients.logs.delete_log_group(logGroupName=s.stack.log_group),
}


def test_repairs_drift(clients: Clients, stack: DeployedStack, here: Place) -> None:
    for name, drift in DRIFTS.items():
        drift(stack)
        assert actions(plan(clients, stack.stack, here)) > {"unchanged"}, name
        deploy(clients, stack.stack, here, say=quiet)
        assert actions(plan(clients, stack.stack, here)) == {"unchanged"}, name


def test_an_update_is_described_with_old_and_new_values(
    clients: Clients, stack: DeployedStack, here: Place
) -> None:
    longer = dataclasses.replace(stack.stack, visibility_timeout_seconds=90, max_receives=3)
    lines: list[str] = []
    deploy(clients, longer, here, say=lines.append)
    [update] = [line for line in lines if line.startswith("updated")]
    assert 'VisibilityTimeout: "60" -> "90"' in update
    assert "RedrivePolicy.maxReceiveCount: 5 -> 3" in update


@pytest.mark.parametrize(
    ("operation", "answer", "error", "words"),
    [
        ("HeadBucket", (403, "403"), Conflict, "belongs to somebody else"),
        ("CreateBucket", (409, "BucketAlreadyExists"), Conflict, "is taken by another account"),
        ("PutBucketEncryption", (403, "AccessDenied"), Denied, "s3:PutEncryptionConfiguration"),
        ("CreateQueue", (403, "AccessDenied"), Denied, "sqs:CreateQueue"),
        ("PutRetentionPolicy", (400, "AccessDeniedException"), Denied, "logs:PutRetentionPolicy"),
        ("CreateQueue", (400, "AWS.SimpleQueueService.QueueDeletedRecently"), StackError, "retry"),
        ("CreateBucket", (403, "InvalidAccessKeyId"), Denied, "renew or correct them"),
        ("CreateBucket", (501, "NotImplemented"), StackError, "CreateBucket failed"),
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


def test_destroy_keeps_the_data(clients: Clients, stack: DeployedStack) -> None:
    stack.put("photos/a.jpg", b"photo")
    stack.put("reduced.csv", b"key,label")
    lines: list[str] = []
    destroy(clients, stack.stack, say=lines.append)
    kept = stack.s3.list_objects_v2(Bucket=stack.bucket)["Contents"]
    assert [entry["Key"] for entry in kept] == ["photos/a.jpg", "reduced.csv"]
    assert queue_url(stack.sqs, stack.stack.queue) is None
    assert queue_url(stack.sqs, stack.stack.dead_letter_queue) is None
    assert f"deleted   queue {stack.stack.queue}, with 1 messages in it" in lines
    destroy(clients, stack.stack, say=lines.append)
    assert f"absent    queue {stack.stack.queue}" in lines


def test_the_parts_are_ordered_by_what_they_need(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    """S3 checks a notification's queue, and SQS a dead-letter queue, when they are named."""
    assert [part.name for part in parts(clients, wanted, here)] == [
        f"dead-letter queue {wanted.dead_letter_queue}",
        f"queue {wanted.queue}",
        f"bucket {wanted.bucket}",
        f"bucket {wanted.bucket}: public access",
        f"bucket {wanted.bucket}: ownership",
        f"bucket {wanted.bucket}: encryption",
        f"bucket {wanted.bucket}: policy",
        f"bucket {wanted.bucket}: lifecycle",
        f"bucket {wanted.bucket}: notifications to {wanted.queue}",
        f"log group {wanted.log_group}",
    ]


def test_a_failed_destroy_is_repeated(clients: Clients, stack: DeployedStack) -> None:
    cut = ConnectionClosedError(endpoint_url="http://aws")
    for step in ("PutBucketNotificationConfiguration", "DeleteQueue", "DeleteLogGroup"):
        with instead(clients, step, cut), pytest.raises(Unreachable):
            destroy(clients, stack.stack, say=quiet)
    lines: list[str] = []
    destroy(clients, stack.stack, say=lines.append)
    assert f"absent    queue {stack.stack.queue}" in lines
    assert f"deleted   log group {stack.stack.log_group}" in lines
