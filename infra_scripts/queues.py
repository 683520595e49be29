"""The queues: one for the bucket's events, one for messages that nobody could settle."""

import json
from typing import Any

from common import aws
from infra_scripts import policies
from infra_scripts.parts import Part
from infra_scripts.stack import LONG_POLL_SECONDS, MESSAGE_RETENTION_SECONDS, Place, Stack

Attributes = dict[str, Any]

# Attributes that hold a document as a string; compared as documents.
DOCUMENTS = ("Policy", "RedrivePolicy", "RedriveAllowPolicy")


def parts(sqs: Any, stack: Stack, place: Place) -> list[Part]:
    """The dead-letter queue before the queue that points at it."""
    dead_letters = {
        "SqsManagedSseEnabled": "true",
        "MessageRetentionPeriod": str(MESSAGE_RETENTION_SECONDS),
        "RedriveAllowPolicy": {
            "redrivePermission": "byQueue",
            "sourceQueueArns": [place.queue_arn(stack.queue)],
        },
    }
    queue = {
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
    sqs: Any, kind: str, queue: str, fixed: Attributes, statements: list[policies.Document]
) -> Part:
    def read() -> Attributes | None:
        url = aws.queue_url(sqs, queue)
        if url is None:
            return None
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return _parsed(answer["Attributes"])

    def want(before: Attributes | None) -> Attributes:
        known = before or {}
        policy = policies.merge(known.get("Policy"), statements)
        return {**known, **fixed, **({"Policy": policy} if policy else {})}

    def write(before: Attributes | None, after: Attributes) -> None:
        # All of ours, not only what differs: a policy left out of a call may be dropped.
        ours = {name: _text(after[name]) for name in after if name in fixed or name == "Policy"}
        if before is None:
            sqs.create_queue(QueueName=queue, Attributes=ours)
        else:
            url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            sqs.set_queue_attributes(QueueUrl=url, Attributes=ours)

    return Part(f"{kind} {queue}", read, want, write)


def delete(sqs: Any, name: str) -> int | None:
    """Delete the queue with its messages; say how many those were, None where there is none."""
    url = aws.queue_url(sqs, name)
    if url is None:
        return None
    counts = sqs.get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    sqs.delete_queue(QueueUrl=url)
    return sum(int(count) for count in counts.values())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(attributes: dict[str, str]) -> Attributes:
    parsed: Attributes = dict(attributes)
    for name in DOCUMENTS:
        if name in parsed:
            parsed[name] = json.loads(parsed[name])
    if "maxReceiveCount" in (redrive := parsed.get("RedrivePolicy", {})):
        redrive["maxReceiveCount"] = int(redrive["maxReceiveCount"])  # it may come as a string
    return parsed
