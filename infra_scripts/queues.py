"""The queues as they are: how many messages they hold."""

from typing import TYPE_CHECKING

from common import aws

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.literals import QueueAttributeNameType

COUNTS: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def messages(sqs: "SQSClient", name: str) -> int | None:
    """About how many messages the queue holds, received and delayed ones too; None without a queue.

    Raises botocore's ``ClientError`` or ``BotoCoreError``.
    """
    url = aws.queue_url(sqs, name)
    if url is None:
        return None
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=COUNTS)["Attributes"]
    return sum(int(count) for count in counts.values())
