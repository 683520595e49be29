"""Access to the embedded AWS: identities are held to their policies, and calls are recorded."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra_scripts.embedded import EmbeddedAws
from tests.support.limited import session_of, user_of

VERSION = "2012-10-17"
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/a/*"}
SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:q"}

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("record") / "calls"


@pytest.fixture(scope="module")
def connect(record: Path) -> Iterator[Connect]:
    """Clients of an embedded AWS of its own, which has a bucket with an object, and a queue."""
    with EmbeddedAws(record=record) as embedded:

        def connected(service: str, **caller: str) -> Any:
            keys = caller or {"aws_access_key_id": "owner", "aws_secret_access_key": "x"}
            return boto3.client(
                service, endpoint_url=embedded.endpoint_url, region_name=embedded.region, **keys
            )

        s3 = connected("s3")
        region = {"LocationConstraint": embedded.region}
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration=region)
        s3.put_object(Bucket="bucket", Key="a/b", Body=b"x")
        connected("sqs").create_queue(QueueName="q")
        yield connected


def limited(connect: Connect, *statements: dict[str, Any]) -> Callable[[str], Any]:
    """Clients of a new role that has these statements."""
    role = session_of(uuid.uuid4().hex, {"Version": VERSION, "Statement": [*statements]}, connect)
    keys = {name.lower(): value for name, value in role.items()}
    return lambda service: connect(service, **keys)


def refused(call: Callable[..., Any], **request: Any) -> str:
    """The code and the message of a refusal."""
    with pytest.raises(ClientError) as raised:
        call(**request)
    error = raised.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def test_a_role_may_do_what_its_policy_allows(connect: Connect) -> None:
    role = limited(connect, READ, SEND)
    assert role("s3").get_object(Bucket="bucket", Key="a/b")["Body"].read() == b"x"
    url = connect("sqs").get_queue_url(QueueName="q")["QueueUrl"]
    entries = [{"Id": "0", "MessageBody": "x"}]
    assert role("sqs").send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
    assert role("sts").get_caller_identity()


def test_a_role_may_do_nothing_else(connect: Connect) -> None:
    role = limited(connect, READ)
    url = connect("sqs").get_queue_url(QueueName="q")["QueueUrl"]
    s3, query, cbor = role("s3"), role("iam"), role("cloudwatch")
    denied = refused(s3.put_object, Bucket="bucket", Key="a/b")
    assert denied.startswith("AccessDenied: User: arn:aws:sts::123456789012:assumed-role/")
    assert "not authorized to perform: s3:PutObject on resource: arn:aws:s3:::bucket/a/b" in denied
    assert refused(s3.head_object, Bucket="bucket", Key="b").startswith("403")
    sending = refused(role("sqs").send_message, QueueUrl=url, MessageBody="x")
    assert sending.startswith("AccessDenied")
    assert "sqs:SendMessage on resource: arn:aws:sqs:eu-west-1:123456789012:q" in sending
    assert "iam:ListRoles" in refused(query.list_roles)
    assert "cloudwatch:ListMetrics" in refused(cbor.list_metrics)
    assert refused(role("ec2").describe_vpcs).startswith("UnauthorizedOperation: User")


def test_each_object_of_a_deletion_is_looked_at(connect: Connect) -> None:
    deletes = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::bucket/d*"}
    s3 = limited(connect, deletes)("s3")
    keys = [{"Key": "d1"}, {"Key": "d2"}]
    assert len(s3.delete_objects(Bucket="bucket", Delete={"Objects": keys})["Deleted"]) == 2
    keys.append({"Key": "e"})
    assert "bucket/e" in refused(s3.delete_objects, Bucket="bucket", Delete={"Objects": keys})


def test_a_missing_object_is_404_only_for_those_who_may_list(connect: Connect) -> None:
    lists = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket"}
    missing = {"Bucket": "bucket", "Key": "a/none"}
    assert "s3:ListBucket" in refused(limited(connect, READ)("s3").get_object, **missing)
    found = refused(limited(connect, READ, lists)("s3").get_object, **missing)
    assert found.startswith("NoSuchKey")


def test_users_are_held_to_their_policies_too(connect: Connect) -> None:
    keys = user_of("somebody", {"Version": VERSION, "Statement": READ}, connect)
    s3 = connect("s3", **{name.lower(): value for name, value in keys.items()})
    assert s3.get_object(Bucket="bucket", Key="a/b")
    assert "user/somebody is not" in refused(s3.delete_object, Bucket="bucket", Key="a/b")


def test_a_session_of_a_role_that_was_never_created_is_not_limited(connect: Connect) -> None:
    arn = "arn:aws:iam::123456789012:role/never-created"
    session = connect("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    s3 = connect(
        "s3",
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    assert s3.list_buckets()["Buckets"]


def test_calls_are_recorded_once_each(connect: Connect, record: Path) -> None:
    s3 = connect("s3", aws_access_key_id="me", aws_secret_access_key="x")
    for _ in range(3):
        s3.list_objects_v2(Bucket="bucket", Prefix="a/")
    refused(s3.get_object, Bucket="bucket", Key="none")
    s3.get_object_legal_hold(Bucket="bucket", Key="a/b")
    lines = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    mine = [line for line in lines if line.pop("caller") == "me"]
    bucket = "arn:aws:s3:::bucket"
    assert mine[:2] == [
        {
            "operation": "s3:ListObjectsV2",
            "permissions": [
                {"action": "s3:ListBucket", "resource": bucket, "context": [["s3:prefix", "a/"]]}
            ],
            "status": 200,
        },
        {
            "operation": "s3:GetObject",
            "permissions": [
                {"action": "s3:GetObject", "resource": f"{bucket}/none", "context": []},
                {"action": "s3:ListBucket", "resource": bucket, "context": []},
            ],
            "status": 404,
        },
    ]
    assert [line["operation"] for line in mine[2:]] == ["unknown: s3: GET /bucket/a/b?legal-hold"]
