"""The queues in the template, and what happens to messages when queues go."""

from dataclasses import replace

from infra_scripts import policies
from infra_scripts.template.queues import resources
from infra_scripts.template.resource import ANYWHERE
from tests.support.aws import unique_stack

STACK = unique_stack(queue="q", dead_letter_queue="d", max_receives=9)


def test_both_queues_are_encrypted_and_keep_messages_as_long_as_they_can() -> None:
    made = resources(STACK, ANYWHERE)
    for name in ("Queue", "DeadLetterQueue"):
        properties = made[name]["Properties"]
        assert properties["SqsManagedSseEnabled"] is True
        assert properties["MessageRetentionPeriod"] == 1_209_600
    assert made["Queue"]["Properties"] | {"SqsManagedSseEnabled": 0} == {
        "QueueName": "q",
        "ReceiveMessageWaitTimeSeconds": 20,
        "VisibilityTimeout": 60,
        "RedrivePolicy": {
            "deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
            "maxReceiveCount": 9,
        },
        "SqsManagedSseEnabled": 0,
        "MessageRetentionPeriod": 1_209_600,
    }
    [source] = made["DeadLetterQueue"]["Properties"]["RedriveAllowPolicy"]["sourceQueueArns"]
    assert source == ANYWHERE.queue_arn("q")


def test_a_renamed_queue_keeps_its_messages() -> None:
    made = resources(STACK, ANYWHERE)
    for name in ("Queue", "DeadLetterQueue"):
        assert made[name]["UpdateReplacePolicy"] == "Retain"
        assert made[name]["DeletionPolicy"] == "Delete"


def test_the_policies_are_those_of_the_queues() -> None:
    made = resources(STACK, ANYWHERE)
    for name, statements in {
        "Queue": policies.queue_statements(STACK, ANYWHERE),
        "DeadLetterQueue": policies.dead_letter_statements(STACK, ANYWHERE),
    }.items():
        policy = made[f"{name}Policy"]
        assert policy["Type"] == "AWS::SQS::QueueInlinePolicy"
        assert policy["Properties"]["Queue"] == {"Ref": name}
        assert policy["Properties"]["PolicyDocument"]["Statement"] == statements
    plain = resources(STACK, replace(ANYWHERE, encrypted=False))
    assert "DeadLetterQueuePolicy" not in plain  # a policy without statements is refused
    assert len(plain["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]) == 1
