"""The queues as they are deployed, and how many messages they hold."""

import json

from infra_scripts import queues
from infra_scripts.stack import Place
from tests.support.aws import DeployedStack


def test_attributes(stack: DeployedStack, here: Place) -> None:
    queue, dead_letters = (
        stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in (stack.queue_url, stack.dead_letter_queue_url)
    )
    assert queue["VisibilityTimeout"] == "60"
    assert queue["ReceiveMessageWaitTimeSeconds"] == "20"
    assert queue["MessageRetentionPeriod"] == dead_letters["MessageRetentionPeriod"] == "1209600"
    assert queue["SqsManagedSseEnabled"] == dead_letters["SqsManagedSseEnabled"] == "true"
    assert json.loads(queue["RedrivePolicy"]) == {
        "deadLetterTargetArn": dead_letters["QueueArn"],
        "maxReceiveCount": 5,
    }
    assert json.loads(dead_letters["RedriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [queue["QueueArn"]],
    }
    [send] = json.loads(queue["Policy"])["Statement"]
    assert send["Principal"] == {"Service": "s3.amazonaws.com"}
    assert send["Condition"] == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{stack.bucket}"},
        "StringEquals": {"aws:SourceAccount": here.account},
    }


def test_counting_the_messages(stack: DeployedStack) -> None:
    for _ in range(3):
        stack.sqs.send_message(QueueUrl=stack.queue_url, MessageBody="x")
    stack.sqs.receive_message(QueueUrl=stack.queue_url)  # in flight, and counted too
    assert queues.messages(stack.sqs, stack.stack.queue) == 3
    assert queues.messages(stack.sqs, f"{stack.stack.queue}-of-nobody") is None
