"""The bucket: created, adopted with what is in it, refused where it is not ours, deleted."""

from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra_scripts import bucket
from infra_scripts.clients import Clients
from infra_scripts.cloudformation import state
from infra_scripts.deployment import deploy, plan
from infra_scripts.destruction import destroy
from infra_scripts.embedded import EmbeddedAws
from infra_scripts.errors import Conflict
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack, unique_stack
from tests.support.watched import actions, create_bucket, quiet, recorded


def test_a_bucket_that_does_not_exist(clients: Clients, wanted: Stack, here: Place) -> None:
    assert bucket.exists(clients.s3, wanted.bucket, here.region) is None
    create_bucket(clients, wanted.bucket, here.region)
    assert bucket.exists(clients.s3, wanted.bucket, here.region) == {"region": here.region}


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
    assert "Bucket" not in state.find(clients.cloudformation, wanted.name).resources
    assert s3.get_bucket_versioning(**where)["Status"] == "Enabled"
    assert s3.get_object(**where, Key="photos/old.jpg")["Body"].read() == b"old"
    rules = s3.get_bucket_lifecycle_configuration(**where)["Rules"]
    assert [rule["ID"] for rule in rules] == ["theirs"]
    assert notified() == ["theirs", wanted.notification_id]
    destroy(clients, wanted, say=quiet)
    assert notified() == ["theirs"]


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


def test_us_east_1_is_not_named(aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    clients, wanted = Clients.connect(), unique_stack()
    place = clients.place()
    deploy(clients, wanted, place, say=quiet)
    assert place.region == "us-east-1"
    assert actions(plan(clients, wanted, place)) == {"unchanged"}
    destroy(clients, wanted, say=quiet, delete_data=True)
    clients.close()


def test_deleting_data_deletes_every_version(clients: Clients, stack: DeployedStack) -> None:
    where = {"Bucket": stack.bucket}
    stack.s3.put_bucket_versioning(**where, VersioningConfiguration={"Status": "Enabled"})
    stack.put("photos/ä b+c.jpg", b"1")
    stack.put("photos/ä b+c.jpg", b"2")
    stack.s3.delete_object(**where, Key="photos/ä b+c.jpg")
    stack.s3.create_multipart_upload(**where, Key="unfinished")
    lines: list[str] = []
    destroy(clients, stack.stack, say=lines.append, delete_data=True)
    assert lines[-1] == f"deleted   bucket {stack.bucket}, with 3 object versions in it"
    with pytest.raises(ClientError, match="404"):
        stack.s3.head_bucket(**where)


def test_deleting_data_deletes_every_key_that_s3_takes(
    clients: Clients, stack: DeployedStack
) -> None:
    for key in (
        "photos/\x01.jpg",
        "photos/\r\n.jpg",
        "photos/\x7f\x85\ufffe.jpg",
        "photos/<&>+%.jpg",
    ):
        stack.put(key)
    stack.s3.create_multipart_upload(Bucket=stack.bucket, Key="unfinished + %20")
    with suppress(ClientError):  # the response has no way to name the key; the upload exists
        stack.s3.create_multipart_upload(Bucket=stack.bucket, Key="unfinished \x01")
    lines: list[str] = []
    destroy(clients, stack.stack, say=lines.append, delete_data=True)
    assert lines[-1] == f"deleted   bucket {stack.bucket}, with 4 object versions in it"
