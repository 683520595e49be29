"""The queues in the template: one for the bucket's events, one for messages received too often."""

from infra_scripts import policies
from infra_scripts.stack import LONG_POLL_SECONDS, MESSAGE_RETENTION_SECONDS, Place, Stack
from infra_scripts.template.resource import Resource, attribute, ref, resource


def resources(stack: Stack, place: Place) -> dict[str, Resource]:
    """Both queues and their policies.

    Deleting the stack deletes the queues with their messages; ``destroy`` asks before it does, and the
    daily reconciliation finds again what a lost message was about. A queue whose name was changed is
    kept: SQS deletes its messages in 14 days, and until then somebody can move them.

    The policies are resources of the kind whose drift CloudFormation detects.
    """
    made = {
        "DeadLetterQueue": _queue(
            "Messages that were received too often, and those that are not S3 events.",
            {
                "QueueName": stack.dead_letter_queue,
                "RedriveAllowPolicy": {
                    "redrivePermission": "byQueue",
                    "sourceQueueArns": [place.queue_arn(stack.queue)],
                },
            },
        ),
        "Queue": _queue(
            "The bucket's events. A message is deleted when its photos' outcome is in the store.",
            {
                "QueueName": stack.queue,
                "ReceiveMessageWaitTimeSeconds": LONG_POLL_SECONDS,
                "VisibilityTimeout": stack.visibility_timeout_seconds,
                "RedrivePolicy": {
                    "deadLetterTargetArn": attribute("DeadLetterQueue", "Arn"),
                    "maxReceiveCount": stack.max_receives,
                },
            },
        ),
        "QueuePolicy": _policy(
            "Queue",
            "S3 may send this bucket's events; everybody must use TLS.",
            policies.queue_statements(stack, place),
        ),
    }
    if dead := policies.dead_letter_statements(stack, place):
        made["DeadLetterQueuePolicy"] = _policy("DeadLetterQueue", "Everybody must use TLS.", dead)
    return made


def _queue(purpose: str, properties: dict[str, object]) -> Resource:
    common = {
        "SqsManagedSseEnabled": True,
        "MessageRetentionPeriod": MESSAGE_RETENTION_SECONDS,
    }
    return resource(
        "AWS::SQS::Queue",
        purpose,
        properties | common,
        deleted="Delete",
        replaced="Retain",
        accepted={
            "CKV_AWS_27": "encrypted by SQS itself (SSE-SQS), which this check does not know; "
            "S3 cannot send to a queue encrypted with alias/aws/sqs"
        },
    )


def _policy(queue: str, purpose: str, statements: list[policies.Document]) -> Resource:
    document = {"Version": policies.VERSION, "Statement": statements}
    return resource(
        "AWS::SQS::QueueInlinePolicy", purpose, {"Queue": ref(queue), "PolicyDocument": document}
    )
