"""The queues: one for the bucket's events, one for messages that were received too often.

An adopted queue gets our attributes, but keeps the KMS key that it is encrypted with and the other
statements of its policy.
"""

import json
from typing import TYPE_CHECKING, TypeAlias

from common import aws
from infra_scripts import policies
from infra_scripts.parts import Part
from infra_scripts.stack import LONG_POLL_SECONDS, MESSAGE_RETENTION_SECONDS, Place, Stack

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType

Attributes: TypeAlias = dict["QueueAttributeNameType", str | policies.Document]

# SQS takes and returns these as strings; they are compared as documents.
DOCUMENTS: "tuple[QueueAttributeNameType, ...]" = ("Policy", "RedrivePolicy", "RedriveAllowPolicy")
COUNTS: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def parts(sqs: "SQSClient", stack: Stack, place: Place) -> list[Part[Attributes]]:
    """The dead-letter queue before the queue that points at it."""
    dead_letters: Attributes = {
        "SqsManagedSseEnabled": "true",
        "MessageRetentionPeriod": str(MESSAGE_RETENTION_SECONDS),
        "RedriveAllowPolicy": {
            "redrivePermission": "byQueue",
            "sourceQueueArns": [place.queue_arn(stack.queue)],
        },
    }
    queue: Attributes = {
        "SqsManagedSseEnabled": "true",
        "MessageRetentionPeriod": str(MESSAGE_RETENTION_SECONDS),
        "ReceiveMessageWaitTimeSeconds": str(LONG_POLL_SECONDS),
        "VisibilityTimeout": str(stack.visibility_timeout_seconds),
        "RedrivePolicy": {
            "deadLetterTargetArn": place.queue_arn(stack.dead_letter_queue),
            "maxReceiveCount": stack.max_receives,
        },
    }
    return [
        _part(
            sqs,
            "dead-letter queue",
            stack.dead_letter_queue,
            dead_letters,
            policies.dead_letter_statements(stack, place),
        ),
        _part(sqs, "queue", stack.queue, queue, policies.queue_statements(stack, place)),
    ]


def _part(
    sqs: "SQSClient",
    kind: str,
    queue: str,
    fixed: Attributes,
    statements: list[policies.Document],
) -> Part[Attributes]:
    def ours(known: Attributes) -> Attributes:
        """SQS has one encryption a queue: to set its own would drop the key."""
        has_key = bool(known.get("KmsMasterKeyId"))
        return {n: v for n, v in fixed.items() if not (has_key and n == "SqsManagedSseEnabled")}

    def read() -> Attributes | None:
        url = aws.queue_url(sqs, queue)
        if url is None:
            return None
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return _parsed(answer["Attributes"])

    def want(before: Attributes | None) -> Attributes:
        known = before or {}
        policy = policies.merge(_document(known, "Policy") or None, statements)
        return {**known, **ours(known), **({"Policy": policy} if policy else {})}

    def write(before: Attributes | None, after: Attributes) -> None:
        # All of ours, not only what differs: a policy left out of a call may be dropped.
        names = {*ours(after), "Policy"} & after.keys()
        attributes = {name: _text(after[name]) for name in after if name in names}
        if before is None:
            sqs.create_queue(QueueName=queue, Attributes=attributes)
        else:
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    def note(after: Attributes | None) -> str:
        key = (after or {}).get("KmsMasterKeyId")
        if not key:
            return ""
        return (
            f"kept: encrypted with KMS key {key}: its key policy must allow s3.amazonaws.com (of bucket "
            "events) and the service's role kms:GenerateDataKey and kms:Decrypt, which the policy of "
            "alias/aws/sqs cannot; for SQS' own encryption set SqsManagedSseEnabled=true on the queue"
        )

    return Part(f"{kind} {queue}", read, want, write, note)


def messages(sqs: "SQSClient", name: str) -> int | None:
    """About how many messages the queue holds, received and delayed ones too; None without a queue.

    Raises botocore's ``ClientError`` or ``BotoCoreError``.
    """
    url = aws.queue_url(sqs, name)
    if url is None:
        return None
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=COUNTS)["Attributes"]
    return sum(int(count) for count in counts.values())


def delete(sqs: "SQSClient", name: str) -> int | None:
    """Delete the queue and return how many messages it held; None where it does not exist.

    The messages cannot be recovered. Raises botocore's ``ClientError`` or ``BotoCoreError``; the
    queue then still exists, or is deleted and the next call returns None.
    """
    count = messages(sqs, name)
    if count is not None:
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    return count


def _text(value: str | policies.Document) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(attributes: "dict[QueueAttributeNameType, str]") -> Attributes:
    parsed: Attributes = {**attributes}
    for name in DOCUMENTS:
        if name in attributes:
            parsed[name] = json.loads(attributes[name])
    redrive = _document(parsed, "RedrivePolicy")
    if "maxReceiveCount" in redrive:
        redrive["maxReceiveCount"] = int(str(redrive["maxReceiveCount"]))  # may be a string
    return parsed


def _document(attributes: Attributes, name: "QueueAttributeNameType") -> policies.Document:
    """The attribute as a document; empty where it is missing."""
    value = attributes.get(name)
    return value if isinstance(value, dict) else {}
