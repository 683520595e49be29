"""The deployment on the embedded AWS: it converges from anywhere, and keeps what is not ours."""

import dataclasses
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common.aws import queue_url
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, destroy, plan
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack, unique_stack
from tests.support.watched import actions, create_bucket, quiet, recorded


@pytest.fixture(params=[False, True], ids=["http", "https"])
def place(clients: Clients, request: pytest.FixtureRequest) -> Place:
    """Where the embedded AWS stands, as it is and as if it were reached over TLS."""
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


def test_settings(stack: DeployedStack, here: Place) -> None:
    s3, sqs, where = stack.s3, stack.sqs, {"Bucket": stack.bucket}
    blocked = s3.get_public_access_block(**where)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    assert len(blocked) == 4
    [ownership] = s3.get_bucket_ownership_controls(**where)["OwnershipControls"]["Rules"]
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    [rule] = s3.get_bucket_encryption(**where)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    queue = sqs.get_queue_attributes(QueueUrl=stack.queue_url, AttributeNames=["All"])["Attributes"]
    dead_letters = sqs.get_queue_attributes(
        QueueUrl=stack.dead_letter_queue_url, AttributeNames=["All"]
    )["Attributes"]
    assert queue["VisibilityTimeout"] == "60"
    assert queue["ReceiveMessageWaitTimeSeconds"] == "20"
    assert queue["MessageRetentionPeriod"] == dead_letters["MessageRetentionPeriod"] == "1209600"
    assert queue["SqsManagedSseEnabled"] == dead_letters["SqsManagedSseEnabled"] == "true"
    assert json.loads(queue["RedrivePolicy"]) == {
        "deadLetterTargetArn": dead_letters["QueueArn"],
        "maxReceiveCount": 5,
    }
    assert json.loads(dead_letters["RedriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [queue["QueueArn"]],
    }
    [send] = json.loads(queue["Policy"])["Statement"]
    assert send["Principal"] == {"Service": "s3.amazonaws.com"}
    assert send["Condition"] == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{stack.bucket}"},
        "StringEquals": {"aws:SourceAccount": here.account},
    }


def test_photos_make_events_and_nothing_else_does(stack: DeployedStack) -> None:
    stack.put("photos/apple/1.jpg", b"one")
    stack.put("photos/apple/1.jpg", b"two")
    stack.put("features/part-1.parquet")
    stack.put("photo.jpg")
    stack.s3.delete_object(Bucket=stack.bucket, Key="features/part-1.parquet")
    stack.s3.delete_object(Bucket=stack.bucket, Key="photos/apple/1.jpg")
    assert stack.events() == [
        ("ObjectCreated:Put", "photos/apple/1.jpg"),
        ("ObjectCreated:Put", "photos/apple/1.jpg"),
        ("ObjectRemoved:Delete", "photos/apple/1.jpg"),
    ]


def test_adopts_a_bucket_and_keeps_what_is_not_ours(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    s3, where = clients.s3, {"Bucket": wanted.bucket}
    clients.sqs.create_queue(QueueName=f"{wanted.queue}-others")
    theirs: dict[str, Any] = {
        "Id": "theirs",
        "QueueArn": here.queue_arn(f"{wanted.queue}-others"),
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "invoices/"}]}},
    }
    rule = {
        "ID": "theirs",
        "Status": "Enabled",
        "Filter": {"Prefix": "tmp/"},
        "Expiration": {"Days": 3},
    }
    create_bucket(clients, wanted.bucket, here.region)
    s3.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(**where, Key="photos/old.jpg", Body=b"old")
    s3.put_bucket_lifecycle_configuration(**where, LifecycleConfiguration={"Rules": [rule]})
    s3.put_bucket_notification_configuration(
        **where, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )

    def notified() -> list[str]:
        answer = s3.get_bucket_notification_configuration(**where)
        return [entry["Id"] for entry in answer["QueueConfigurations"]]

    assert actions(deploy(clients, wanted, here, say=quiet)) == {"create", "update", "unchanged"}
    assert actions(plan(clients, wanted, here)) == {"unchanged"}
    assert s3.get_bucket_versioning(**where)["Status"] == "Enabled"
    assert s3.get_object(**where, Key="photos/old.jpg")["Body"].read() == b"old"
    rules = s3.get_bucket_lifecycle_configuration(**where)["Rules"]
    assert {rule["ID"] for rule in rules} == {"theirs", "fruits-abort-unfinished-uploads"}
    assert notified() == ["theirs", wanted.notification_id]
    destroy(clients, wanted, say=quiet)
    assert notified() == ["theirs"]


def test_keeps_other_statements_of_an_adopted_bucket(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    where = {"Bucket": wanted.bucket}
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{wanted.bucket}/invoices/*",
    }
    create_bucket(clients, wanted.bucket, here.region)
    clients.s3.put_bucket_policy(**where, Policy=json.dumps({"Statement": statement}))
    deploy(clients, wanted, dataclasses.replace(here, encrypted=True), say=quiet)
    policy = json.loads(clients.s3.get_bucket_policy(**where)["Policy"])
    assert policy["Statement"][0] == statement
    assert [each["Sid"] for each in policy["Statement"]] == ["Theirs", "FruitsTlsOnly"]


def test_keeps_other_statements_of_an_adopted_queue(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": "sqs:SendMessage",
        "Resource": here.queue_arn(wanted.queue),
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url = clients.sqs.create_queue(
        QueueName=wanted.queue, Attributes={"Policy": policy, "DelaySeconds": "1"}
    )["QueueUrl"]
    deploy(clients, wanted, here, say=quiet)
    after = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert statement in json.loads(after["Policy"])["Statement"]
    assert after["DelaySeconds"] == "1"


def test_stacks_share_a_bucket(clients: Clients, stack: DeployedStack, here: Place) -> None:
    other = unique_stack(bucket=stack.bucket, photos_prefix="more/")
    deploy(clients, other, here, say=quiet)
    stack.drain()
    stack.put("photos/a.jpg")
    stack.put("more/b.jpg")
    assert stack.events() == [("ObjectCreated:Put", "photos/a.jpg")]
    destroy(clients, other, say=quiet)
    assert actions(plan(clients, stack.stack, here)) == {"unchanged"}


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


def test_an_update_tells_from_and_to(clients: Clients, stack: DeployedStack, here: Place) -> None:
    longer = dataclasses.replace(stack.stack, visibility_timeout_seconds=90, max_receives=3)
    told: list[str] = []
    deploy(clients, longer, here, say=told.append)
    [update] = [line for line in told if line.startswith("updated")]
    assert 'VisibilityTimeout: "60" -> "90"' in update
    assert "RedrivePolicy.maxReceiveCount: 5 -> 3" in update


def test_destroy_keeps_the_data(clients: Clients, stack: DeployedStack) -> None:
    stack.put("photos/a.jpg", b"photo")
    stack.put("reduced.csv", b"key,label")
    told: list[str] = []
    destroy(clients, stack.stack, say=told.append)
    kept = stack.s3.list_objects_v2(Bucket=stack.bucket)["Contents"]
    assert [entry["Key"] for entry in kept] == ["photos/a.jpg", "reduced.csv"]
    assert queue_url(stack.sqs, stack.stack.queue) is None
    assert queue_url(stack.sqs, stack.stack.dead_letter_queue) is None
    assert f"deleted   queue {stack.stack.queue}, with 1 messages in it" in told
    destroy(clients, stack.stack, say=told.append)
    assert f"absent    queue {stack.stack.queue}" in told


def test_delete_data_deletes_every_version(clients: Clients, stack: DeployedStack) -> None:
    where = {"Bucket": stack.bucket}
    stack.s3.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Enabled"})
    stack.put("photos/ä b+c.jpg", b"1")
    stack.put("photos/ä b+c.jpg", b"2")
    stack.s3.delete_object(**where, Key="photos/ä b+c.jpg")
    stack.s3.create_multipart_upload(**where, Key="unfinished")
    told: list[str] = []
    destroy(clients, stack.stack, say=told.append, delete_data=True)
    assert told[-1] == f"deleted   bucket {stack.bucket}, with 3 object versions in it"
    with pytest.raises(ClientError, match="404"):
        stack.s3.head_bucket(**where)


def test_us_east_1_is_not_named(aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    clients, wanted = Clients.connect(), unique_stack()
    place = clients.place()
    deploy(clients, wanted, place, say=quiet)
    assert place.region == "us-east-1"
    assert actions(plan(clients, wanted, place)) == {"unchanged"}
    destroy(clients, wanted, say=quiet, delete_data=True)
    clients.close()
