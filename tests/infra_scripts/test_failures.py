"""The deployment when AWS refuses or fails: one line of error, nothing half-adopted, convergence."""

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError

from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, plan
from infra_scripts.errors import Conflict, Refused, StackError, Unreachable
from infra_scripts.stack import Place, Stack
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


def test_converges_after_a_failure_at_each_step(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    cut = ConnectionClosedError(endpoint_url="http://aws")
    for step in STEPS:
        with instead(clients, step, cut), pytest.raises(Unreachable, match="http://aws"):
            deploy(clients, wanted, here, say=quiet)
    deploy(clients, wanted, here, say=quiet)
    assert actions(plan(clients, wanted, here)) == {"unchanged"}


def test_an_overlapping_notification_is_named_and_nothing_is_changed(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    where = {"Bucket": wanted.bucket}
    taken = here.queue_arn("somebody-elses")
    clients.s3.create_bucket(**where, CreateBucketConfiguration={"LocationConstraint": here.region})
    theirs = {"Id": "theirs", "QueueArn": taken, "Events": ["s3:ObjectCreated:Put"]}
    clients.s3.put_bucket_notification_configuration(
        **where, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    with recorded(clients) as called, pytest.raises(Conflict, match=f"{taken}.*'theirs'"):
        deploy(clients, wanted, here, say=quiet)
    assert called == []


@pytest.mark.parametrize(
    ("operation", "answer", "error", "told"),
    [
        ("HeadBucket", (403, "403"), Conflict, "belongs to somebody else"),
        ("CreateBucket", (409, "BucketAlreadyExists"), Conflict, "is taken by another account"),
        ("PutBucketEncryption", (403, "AccessDenied"), Refused, "s3:PutEncryptionConfiguration"),
        ("CreateQueue", (403, "AccessDenied"), Refused, "sqs:CreateQueue"),
        ("PutRetentionPolicy", (400, "AccessDeniedException"), Refused, "logs:PutRetentionPolicy"),
        ("CreateQueue", (400, "AWS.SimpleQueueService.QueueDeletedRecently"), StackError, "retry"),
        ("CreateBucket", (403, "InvalidAccessKeyId"), Refused, "renew or correct them"),
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
    told: str,
) -> None:
    with instead(clients, operation, answer), pytest.raises(error, match=told) as raised:
        deploy(clients, wanted, here, say=quiet)
    assert "\n" not in str(raised.value)


def test_a_bucket_in_another_region(clients: Clients, wanted: Stack, here: Place) -> None:
    elsewhere = boto3.client("s3", region_name="us-west-2")
    elsewhere.create_bucket(
        Bucket=wanted.bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    with recorded(clients) as called, pytest.raises(Conflict, match="AWS_REGION=us-west-2"):
        deploy(clients, wanted, here, say=quiet)
    assert called == []
    elsewhere.delete_bucket(Bucket=wanted.bucket)
    elsewhere.close()
