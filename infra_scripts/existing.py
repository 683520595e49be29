"""What exists already of what a stack declares: its own, somebody else's, or nobody's yet."""

from dataclasses import dataclass

from common import aws
from infra_scripts import bucket, log_group, notifications
from infra_scripts.bucket_settings import present
from infra_scripts.clients import Clients
from infra_scripts.cloudformation.state import Deployed
from infra_scripts.errors import Conflict
from infra_scripts.stack import Place, Stack


@dataclass(frozen=True, slots=True)
class Existing:
    """What is there, and what of it belongs to the stack.

    A bucket and a log group that exist without belonging to it are adopted: they stay out of the
    template, and are set up by API.
    """

    deployed: Deployed | None
    has_bucket: bool
    has_log_group: bool

    def owns(self, logical: str, physical: str) -> bool:
        """Whether the stack has this resource, under this name."""
        found = self.deployed.resources.get(logical, "") if self.deployed else ""
        return found.rpartition("/")[2] == physical or found == physical

    def declares_bucket(self, stack: Stack) -> bool:
        """Whether the bucket belongs in the template: it is the stack's, or will be."""
        return not self.has_bucket or self.owns("Bucket", stack.bucket)

    def declares_log_group(self, stack: Stack) -> bool:
        """Whether the log group belongs in the template."""
        return not self.has_log_group or self.owns("LogGroup", stack.log_group)


def find(clients: Clients, stack: Stack, place: Place, deployed: Deployed | None) -> Existing:
    """What exists, as far as this stack may use it.

    Raises :class:`Conflict` for what belongs to somebody else, and botocore's errors.
    """
    has_bucket = bucket.exists(clients.s3, stack.bucket, place.region) is not None
    group = log_group.find(clients.logs, stack.log_group)
    found = Existing(deployed, has_bucket, group is not None)
    _check_stack(stack, deployed)
    for logical, name in (("DeadLetterQueue", stack.dead_letter_queue), ("Queue", stack.queue)):
        if not found.owns(logical, name) and aws.queue_url(clients.sqs, name):
            raise Conflict(
                f"queue {name!r} exists and is not part of the stack {stack.name}: choose another "
                "queue.name and queue.dead_letter_name, or have its messages processed and delete it "
                f"(aws sqs delete-queue), wait a minute, and deploy again"
            )
    if has_bucket:
        _check_bucket(clients, stack, place)
    return found


def _check_stack(stack: Stack, deployed: Deployed | None) -> None:
    """Raise :class:`Conflict` for a stack of this name that declares something else."""
    if deployed is None or not deployed.resources:
        return
    queue = deployed.resources.get("Queue", "").rpartition("/")[2]
    if queue != stack.queue:
        raise Conflict(
            f"the CloudFormation stack {stack.name} exists, and its queue is "
            f"{repr(queue) if queue else 'none of ours'}: choose another queue.name"
        )


def _check_bucket(clients: Clients, stack: Stack, place: Place) -> None:
    """Raise :class:`Conflict` for the bucket of another stack: each would take the other's events."""
    known = present(lambda: notifications.read(clients.s3, stack.bucket)) or {}
    for entry in known.get("QueueConfigurations", []):
        ours = place.queue_arn(stack.queue)
        if notifications.is_of_a_stack(entry) and entry["QueueArn"] != ours:
            raise Conflict(
                f"bucket {stack.bucket!r} is used by the stack of the queue {entry['QueueArn']}: "
                "choose another storage.bucket, or destroy that stack, which keeps the bucket"
            )
