"""The queues: their attributes, and what an adopted queue keeps."""

import json

from infra_scripts import queues
from infra_scripts.clients import Clients
from infra_scripts.deployment import deploy, plan
from infra_scripts.stack import Place, Stack
from tests.support.aws import DeployedStack
from tests.support.watched import quiet


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


def test_keeps_other_statements_of_an_adopted_queue(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    statement = {
        "Sid": "Theirs",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::222222222222:root"},
        "Action": "sqs:SendMessage",
        "Resource": here.queue_arn(wanted.queue),
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url = clients.sqs.create_queue(
        QueueName=wanted.queue, Attributes={"Policy": policy, "DelaySeconds": "1"}
    )["QueueUrl"]
    deploy(clients, wanted, here, say=quiet)
    after = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert statement in json.loads(after["Policy"])["Statement"]
    assert after["DelaySeconds"] == "1"


def test_keeps_the_kms_key_of_an_adopted_queue(
    clients: Clients, wanted: Stack, here: Place
) -> None:
    url = clients.sqs.create_queue(
        QueueName=wanted.queue, Attributes={"KmsMasterKeyId": "alias/theirs", "DelaySeconds": "1"}
    )["QueueUrl"]
    written: list[dict[str, str]] = []

    def note(params: dict[str, dict[str, str]], **_: object) -> None:
        written.append(params["Attributes"])

    clients.sqs.meta.events.register("provide-client-params.sqs.SetQueueAttributes", note)
    lines: list[str] = []
    try:
        deploy(clients, wanted, here, say=lines.append)
    finally:
        clients.sqs.meta.events.unregister("provide-client-params.sqs.SetQueueAttributes", note)
    after = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert after["KmsMasterKeyId"] == "alias/theirs"
    assert after["VisibilityTimeout"] == "60"
    # AWS drops the key when this is set; the embedded AWS keeps both.
    assert not any("SqsManagedSseEnabled" in each for each in written)
    [line] = [line for line in lines if "kept: encrypted with KMS key alias/theirs" in line]
    assert "kms:GenerateDataKey and kms:Decrypt" in line
    assert {change.action for change in plan(clients, wanted, here)} == {"unchanged"}


class SpeltAsStrings:
    """An SQS that returns the redrive policy's number as a string, as some implementations do."""

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": f"http://sqs/{QueueName}"}

    def get_queue_attributes(self, **_: object) -> dict[str, dict[str, str]]:
        return {"Attributes": {"RedrivePolicy": '{"maxReceiveCount": "5"}'}}


def test_a_number_spelt_as_a_string_is_the_same(wanted: Stack, here: Place) -> None:
    _, queue = queues.parts(SpeltAsStrings(), wanted, here)
    assert queue.read() == {"RedrivePolicy": {"maxReceiveCount": 5}}


def test_deleting_counts_the_messages_and_may_be_repeated(stack: DeployedStack) -> None:
    for _ in range(3):
        stack.sqs.send_message(QueueUrl=stack.queue_url, MessageBody="x")
    stack.sqs.receive_message(QueueUrl=stack.queue_url)  # in flight, and counted too
    assert queues.delete(stack.sqs, stack.stack.queue) == 3
    assert queues.delete(stack.sqs, stack.stack.queue) is None
