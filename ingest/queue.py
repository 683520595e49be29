"""The SQS queue: its client and calls, what it delivers, its depth, and the error that no retry mends.

What is received when is decided in :mod:`ingest.inbox`, what is kept how long in :mod:`ingest.holding`.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from common import aws, aws_errors
from ingest.events import ObjectEvent

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import (
        BatchResultErrorEntryTypeDef,
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        DeleteMessageBatchRequestEntryTypeDef,
        MessageTypeDef,
    )

T = TypeVar("T")

BATCH = 10  # SQS takes and returns at most ten messages per call
REQUEST_BYTES = 200_000  # SQS took 256 KiB a request until 2025, and other implementations still do
LONG_POLL_SECONDS = 10  # of 20 possible: a poll that is cut off may take messages with it
SPARE_SECONDS = 10  # for the answer to a long poll to arrive
ATTEMPTS = 3  # at one call, the first included
_DENIED = (
    "access denied: allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and "
    "sqs:GetQueueAttributes on it"
)


class QueueError(RuntimeError):
    """The queue cannot be used as configured; the message names the cause and the fix."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One receipt of one message, and the object events in it.

    A message that is redelivered is another delivery: same ``message_id``, new ``receipt_handle``.
    """

    message_id: str
    receipt_handle: str
    receive_count: int  # this receipt included; approximate, as SQS counts
    sent_at: datetime  # aware, UTC
    events: tuple[ObjectEvent, ...]
    received_at: float = field(default_factory=time.monotonic)  # seconds

    @classmethod
    def of(cls, message: "MessageTypeDef", events: tuple[ObjectEvent, ...]) -> "Delivery":
        """From what ReceiveMessage returned; some implementations of SQS leave attributes out."""
        attributes = message.get("Attributes", {})
        sent_ms = attributes.get("SentTimestamp", time.time() * 1000)
        return cls(
            message_id=message["MessageId"],
            receipt_handle=message["ReceiptHandle"],
            receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
            sent_at=datetime.fromtimestamp(int(sent_ms) / 1000, UTC),
            events=events,
        )

    @property
    def bytes(self) -> int:
        """The size of the objects, as far as their events state it."""
        return sum(event.size or 0 for event in self.events)


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds. SQS counts approximately, and lags by up to a minute."""

    visible: int  # ready to be received
    in_flight: int  # received by somebody, and neither deleted nor visible again
    delayed: int  # not to be received yet, because they were sent with a delay

    @property
    def total(self) -> int:
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that a call for several did not change."""

    delivery: Delivery
    lost: bool  # the receipt handle is invalid: another receipt replaced it, or it was deleted


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue, and the client that reaches it.

    Each method but :meth:`send_all` is one request, and raises botocore's errors; :func:`unusable` finds
    those that no retry mends. Where nobody answered, it is unknown whether the request took effect.
    """

    client: "SQSClient"
    url: str

    def receive(
        self, at_most: int = BATCH, *, wait_seconds: int, visibility_timeout_seconds: int
    ) -> "list[MessageTypeDef]":
        """Up to ``at_most`` messages, of :data:`BATCH` possible, as soon as there are some.

        None after ``wait_seconds``.
        """
        return self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=at_most,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=visibility_timeout_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        ).get("Messages", [])

    def hide(self, deliveries: Sequence[Delivery], seconds: int) -> list[Failure]:
        """Make up to :data:`BATCH` messages visible again after ``seconds``; those that were not."""
        entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
            {"Id": str(n), "ReceiptHandle": each.receipt_handle, "VisibilityTimeout": seconds}
            for n, each in enumerate(deliveries)
        ]
        answer = self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        return _failures(deliveries, answer.get("Failed", []))

    def delete(self, deliveries: Sequence[Delivery]) -> list[Failure]:
        """Delete up to :data:`BATCH` messages; those that were not."""
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(n), "ReceiptHandle": each.receipt_handle}
            for n, each in enumerate(deliveries)
        ]
        answer = self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        return _failures(deliveries, answer.get("Failed", []))

    def send(self, body: str) -> str:
        """Send a message; its id."""
        return self.client.send_message(QueueUrl=self.url, MessageBody=body)["MessageId"]

    def send_all(self, bodies: Sequence[str]) -> None:
        """Send messages, in as few requests as SQS takes them.

        Raises RuntimeError for one that SQS does not take; those before it are sent.
        """
        for some in requests_of(bodies, str):
            answer = self.client.send_message_batch(
                QueueUrl=self.url,
                Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(some)],
            )
            for failure in answer.get("Failed", ()):
                raise RuntimeError(
                    f"SQS did not take a message: {failure['Code']}: {failure.get('Message')}"
                )

    def dead_letter_arn(self) -> str:
        """Where SQS moves messages that were received too often; empty without a redrive policy."""
        answer = self.client.get_queue_attributes(
            QueueUrl=self.url, AttributeNames=["RedrivePolicy"]
        )
        policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy") or "{}")
        return str(policy.get("deadLetterTargetArn", ""))

    def beside(self, arn: str) -> "Queue":
        """The queue with this ARN, of the same region, perhaps of another account."""
        *_, account, name = arn.split(":")
        url = self.client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        return Queue(self.client, url)

    def depth(self) -> Depth:
        """How many messages there are."""
        counts = self.client.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesDelayed",
            ],
        )["Attributes"]
        return Depth(
            visible=int(counts["ApproximateNumberOfMessages"]),
            in_flight=int(counts.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(counts.get("ApproximateNumberOfMessagesDelayed", 0)),
        )


def requests_of(items: Iterable[T], body_of: Callable[[T], str]) -> Iterator[list[T]]:
    """The items in groups whose messages SQS takes in one request; a message alone may be any size."""
    some: list[T] = []
    size = 0
    for item in items:
        added = len(body_of(item).encode(errors="surrogatepass"))
        if some and (len(some) == BATCH or size + added > REQUEST_BYTES):
            yield some
            some, size = [], 0
        some.append(item)
        size += added
    if some:
        yield some


def connect(connections: int) -> "SQSClient":
    """An SQS client for as many threads as ``connections``, patient enough for long polls.

    Raises :class:`common.aws_errors.EndpointError`, and botocore's ``NoRegionError``.
    """
    return aws.client(
        "sqs",
        connections=connections,
        read_seconds=LONG_POLL_SECONDS + SPARE_SECONDS,
        attempts=ATTEMPTS,
    )


def unusable(error: Exception, queue_url: str) -> QueueError | None:
    """What to raise for an error that no retry in this process mends; None for one that may pass.

    ================================================ =========================================
    no such queue, or it was deleted                 ends
    access denied, to the queue or to its KMS key    ends
    credentials that AWS does not accept             ends: a new process reads them anew
    a login (SSO) or a role that cannot be renewed   ends
    the issuer of credentials (the instance's role,  waits: it is asked again for each request
    a process) does not answer
    a wrong clock                                    waits: the machine sets it
    a refusal without a code (a proxy on the way),   waits
    throttling, a fault of SQS, no answer
    ================================================ =========================================
    """
    code = aws_errors.code_of(error)
    if aws_errors.is_missing_queue(error):
        fix = "the queue does not exist: deploy it or correct its name"
    elif aws_errors.is_key_refusal(error):
        fix = "its KMS key cannot be used: enable it, and allow kms:Decrypt and kms:GenerateDataKey"
    elif code in aws_errors.BAD_CREDENTIALS:
        fix = "AWS does not accept the credentials: renew or correct them"
    elif code in aws_errors.DENIED and not aws_errors.is_of_issuer(error):
        fix = _DENIED
    elif code in aws_errors.DENIED or (not code and aws_errors.is_lasting_refusal(error)):
        return QueueError(f"queue {queue_url}: {aws_errors.explain(error, hint='')}")
    else:
        return None
    return QueueError(f"queue {queue_url}: {fix} ({code})")


def _failures(
    deliveries: Sequence[Delivery], refused: "Sequence[BatchResultErrorEntryTypeDef]"
) -> list[Failure]:
    return [
        Failure(deliveries[int(each["Id"])], lost=each.get("SenderFault", False))
        for each in refused
    ]
