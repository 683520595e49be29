"""KMS keys: those that an existing bucket or queue is encrypted with, which its users must be allowed.

Nothing that is deployed has such a key; somebody may have given it one. Keys that AWS manages
(``alias/aws/s3``) allow by themselves every caller who may use the bucket or the queue.
"""

from dataclasses import replace

from common import aws
from infra_scripts.bucket_settings import present
from infra_scripts.clients import Clients
from infra_scripts.errors import as_stack_errors
from infra_scripts.stack import Stack

_OF_AWS = "alias/aws/"


@as_stack_errors()
def with_keys(clients: Clients, stack: Stack) -> Stack:
    """The stack with the ARNs of the keys of what exists of it. Raises :class:`StackError`."""
    queues = (stack.queue, stack.dead_letter_queue)
    queue_keys = {_arn(_of_queue(clients, each)) for each in queues} - {""}
    bucket_key = _arn(_of_bucket(clients, stack.bucket))
    return replace(stack, bucket_key=bucket_key, queue_keys=tuple(sorted(queue_keys)))


def _of_bucket(clients: Clients, name: str) -> str:
    answer = present(lambda: clients.s3.get_bucket_encryption(Bucket=name))
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"] if answer else []
    defaults = (each.get("ApplyServerSideEncryptionByDefault") for each in rules)
    return next((each.get("KMSMasterKeyID", "") for each in defaults if each), "")


def _of_queue(clients: Clients, name: str) -> str:
    url = aws.queue_url(clients.sqs, name)
    if url is None:
        return ""
    answer = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["KmsMasterKeyId"])
    return answer.get("Attributes", {}).get("KmsMasterKeyId", "")


def _arn(key: str) -> str:
    """The ARN of a key, given that, its id or an alias; empty for a key that AWS manages.

    A policy about an alias would concern the alias, not the key.
    """
    if not key or _OF_AWS in key:
        return ""
    if ":key/" in key:
        return key
    client = aws.client("kms")
    try:
        found = client.describe_key(KeyId=key)["KeyMetadata"]
    finally:
        client.close()
    return str(found["Arn"]) if found["KeyManager"] == "CUSTOMER" else ""
