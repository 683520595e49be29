"""The stack: the AWS resources of one pipeline, as a value.

A bucket, a queue with its dead-letter queue, the notifications from the one to the other, and a
log group. What is not in the configuration is fixed here with its reason.
"""

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.layout import BucketLayout
from infra_scripts.errors import StackError

if TYPE_CHECKING:
    from types_boto3_s3.literals import EventType

MESSAGE_RETENTION_SECONDS = 14 * 86_400  # the longest SQS offers: an outage may last that long
LONG_POLL_SECONDS = 20  # the longest SQS offers: fewest empty answers to pay for
ABORT_UPLOADS_DAYS = 1  # unfinished multipart uploads are invisible and cost like objects
EVENTS: "Final[tuple[EventType, ...]]" = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")

# S3 compares a filter with the URL-encoded key, so other characters would never match.
_PLAIN = frozenset(string.ascii_letters + string.digits + "/-_.!*'()=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What should exist; raises :class:`StackError` for names that cannot work together."""

    layout: BucketLayout
    queue: str
    dead_letter_queue: str
    max_receives: int
    visibility_timeout_seconds: int
    log_group: str
    log_retention_days: int
    weights: str = ""  # the network's weights, where they are an s3:// URI

    def __post_init__(self) -> None:
        if self.queue == self.dead_letter_queue:
            raise StackError(
                f"queue.name and queue.dead_letter_name are both {self.queue!r}: "
                "give the dead letters a queue of their own"
            )
        if odd := sorted(set(self.layout.photos_prefix) - _PLAIN):
            raise StackError(
                f"storage.photos_prefix {self.layout.photos_prefix!r} has {''.join(odd)!r}, which S3's "
                "notification filter does not match: use letters, digits, '-', '_', '.' and '/'"
            )

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.layout.bucket

    @property
    def notification_id(self) -> str:
        """By this Id our entry in the bucket's notification configuration is recognised."""
        return f"photos-to-{self.queue}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack stands: partition (``aws``, ``aws-cn``, …), region and account.

    ``encrypted`` says whether the endpoints are reached over TLS. Where they are not, a policy
    that insists on it would lock out its own author, so there is none.
    """

    partition: str
    region: str
    account: str
    encrypted: bool = True

    def queue_arn(self, name: str) -> str:
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{name}"

    def log_group_arn(self, name: str) -> str:
        return f"arn:{self.partition}:logs:{self.region}:{self.account}:log-group:{name}"

    def bucket_arn(self, name: str) -> str:
        return f"arn:{self.partition}:s3:::{name}"
