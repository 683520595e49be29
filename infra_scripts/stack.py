"""The stack: the AWS resources of one pipeline, as a value.

A bucket, a queue with its dead-letter queue, the notifications from the bucket to the queue, and a
log group. What cannot be configured is fixed here, with the reason.
"""

import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from common.layout import BucketLayout
from infra_scripts.errors import StackError

if TYPE_CHECKING:
    from types_boto3_s3.literals import EventType

MESSAGE_RETENTION_SECONDS = 14 * 86_400  # the longest that SQS offers: an outage may last that long
LONG_POLL_SECONDS = 20  # the longest that SQS offers: the fewest empty receives to pay for
NOTIFICATION_PREFIX = "photos-to-"  # of the Id of a stack's entry in a bucket's notifications
ABORT_UPLOADS_DAYS = 1  # unfinished multipart uploads are invisible and cost as much as objects
EVENTS: "Final[tuple[EventType, ...]]" = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
# Not every implementation of S3 offers these. What they tell, the daily reconciliation finds too.
MORE_EVENTS: "Final[tuple[EventType, ...]]" = (
    "s3:LifecycleExpiration:*",
    "s3:ObjectRestore:Completed",
)

# S3 compares a filter with the URL-encoded key, so other characters would never match.
_PLAIN = frozenset(string.ascii_letters + string.digits + "/-_.!*'()=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The EC2 instance that the service runs on; without a ``type`` there is none.

    ``subnet`` is empty for one of the account's default VPC.
    """

    type: str = ""
    volume_gb: int = 40
    cpu_credits: str = "standard"
    subnet: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Whom the alarms tell, and the thresholds that are a matter of choice."""

    email: str = ""
    oldest_seconds: int = 1800
    reject_share: float = 0.2


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
    weights: str = ""  # where the network's weights come from; an s3:// URI needs a permission
    bucket_key: str = ""  # the ARN of the KMS key that an adopted bucket is encrypted with
    queue_keys: tuple[str, ...] = ()  # the ARNs of those that existing queues are encrypted with
    instance: Instance = Instance()
    alarms: Alarms = Alarms()

    def __post_init__(self) -> None:
        if self.queue == self.dead_letter_queue:
            raise StackError(
                f"queue.name and queue.dead_letter_name are both {self.queue!r}: "
                "give the dead letters a queue of their own"
            )
        if odd := sorted(set(self.layout.photos_prefix) - _PLAIN):
            raise StackError(
                f"storage.photos_prefix {self.layout.photos_prefix!r} has {''.join(odd)!r}, which "
                "S3's notification filter does not match: use letters, digits, '-', '_', '.' and '/'"
            )

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.layout.bucket

    @property
    def name(self) -> str:
        """The name of the CloudFormation stack, which allows no underscores."""
        return f"fruits-{self.queue.replace('_', '-')}"

    @property
    def notification_id(self) -> str:
        """The Id that marks our entry in the bucket's notification configuration."""
        return f"{NOTIFICATION_PREFIX}{self.queue}"

    @property
    def basic_notification_id(self) -> str:
        """The Id of our entry where S3 refused the events that not every implementation offers."""
        return f"{self.notification_id}-basic"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack is deployed: partition (``aws``, ``aws-cn``, …), region and account.

    ``encrypted`` says whether the endpoints are reached over TLS. Where they are not, a policy
    that insists on TLS would lock out its own author, so there is none.
    """

    partition: str
    region: str
    account: str
    encrypted: bool = field(default=True, kw_only=True)

    def queue_arn(self, name: str) -> str:
        """The ARN of a queue of this account and region."""
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{name}"

    def log_group_arn(self, name: str) -> str:
        """The ARN of a log group of this account and region."""
        return f"arn:{self.partition}:logs:{self.region}:{self.account}:log-group:{name}"

    def bucket_arn(self, name: str) -> str:
        """The ARN of a bucket, or of an object where ``name`` is ``bucket/key``."""
        return f"arn:{self.partition}:s3:::{name}"
