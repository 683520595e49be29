"""Keys of KMS that somebody has encrypted a bucket or a queue with."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from common import aws
from infra_scripts.errors import Denied
from infra_scripts.keys import with_keys
from tests.support.aws import DeployedStack, unique_stack
from tests.support.limited import calling_as, session_of

CUSTOMER = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture
def kms(stack: DeployedStack) -> Iterator[Any]:
    with closing(aws.client("kms")) as client:
        yield client


def encrypt_bucket(stack: DeployedStack, key: str | None) -> None:
    default = {"SSEAlgorithm": "aws:kms"} | ({"KMSMasterKeyID": key} if key else {})
    stack.s3.put_bucket_encryption(
        Bucket=stack.bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )


def encrypt_queue(stack: DeployedStack, url: str, key: str) -> None:
    stack.sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": key})


def test_nothing_that_is_deployed_has_a_key(stack: DeployedStack) -> None:
    assert with_keys(stack.clients, stack.stack) == stack.stack
    absent = unique_stack()
    assert with_keys(stack.clients, absent) == absent


def test_a_key_is_known_by_its_arn_its_id_or_an_alias(stack: DeployedStack, kms: Any) -> None:
    made = kms.create_key()["KeyMetadata"]
    alias = f"alias/{stack.bucket}"
    kms.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
    encrypt_bucket(stack, CUSTOMER)
    encrypt_queue(stack, stack.queue_url, alias)
    encrypt_queue(stack, stack.dead_letter_queue_url, made["KeyId"])
    expected = replace(stack.stack, bucket_key=CUSTOMER, queue_keys=(made["Arn"],))
    assert with_keys(stack.clients, stack.stack) == expected


@pytest.mark.parametrize("key", [None, "arn:aws:kms:eu-west-1:123456789012:alias/aws/s3"])
def test_keys_of_aws_need_no_permission(stack: DeployedStack, key: str | None) -> None:
    encrypt_bucket(stack, key)
    encrypt_queue(stack, stack.queue_url, "alias/aws/sqs")
    assert with_keys(stack.clients, stack.stack) == stack.stack


def test_what_may_not_be_read_is_named(stack: DeployedStack) -> None:
    nothing = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    role = session_of(stack.bucket, {"Version": "2012-10-17", "Statement": [nothing]})
    with calling_as(role):
        clients = stack.clients.connect()
        with closing(clients), pytest.raises(Denied, match="s3:GetEncryptionConfiguration"):
            with_keys(clients, stack.stack)
