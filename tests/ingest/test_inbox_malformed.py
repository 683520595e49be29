"""Messages without object events: malformed ones, and the test event of S3."""

import json
import logging
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.support.aws import DeployedStack
from tests.support.traffic import (
    TEST_EVENT,
    OpenInbox,
    counts,
    keys,
    refusal,
    send,
    send_bodies,
    spied,
    take_all,
    until,
)

GARBAGE = "not a message"


def test_malformed_ends_as_a_dead_letter(
    stack: DeployedStack, open_inbox: OpenInbox, caplog: pytest.LogCaptureFixture
) -> None:
    send_bodies(stack, GARBAGE)
    send(stack, "a", "b")
    inbox = open_inbox()
    taken = take_all(inbox, 2)
    assert keys(taken) == ["a", "b"]
    inbox.acknowledge(taken)
    until(lambda: counts(stack, stack.dead_letter_queue_url)[0] == 1)
    until(inbox.drained)
    assert counts(stack) == (0, 0)
    (dead,) = stack.sqs.receive_message(QueueUrl=stack.dead_letter_queue_url)["Messages"]
    assert dead["Body"] == GARBAGE
    (line,) = [line for line in caplog.messages if line.startswith("malformed message")]
    assert f"was moved to the dead-letter queue, as {dead['MessageId']}: body is not JSON" in line


def test_malformed_does_not_wait_for_the_limit_of_receives(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    limit_receives(stack, 1000)
    send_bodies(stack, *[GARBAGE] * 12)
    inbox = open_inbox()
    until(lambda: counts(stack, stack.dead_letter_queue_url) == (12, 0), seconds=5)
    until(inbox.drained)
    assert counts(stack) == (0, 0)


@pytest.mark.parametrize("call", ["get_queue_url", "send_message"])
def test_malformed_that_must_not_be_moved_is_left_to_sqs(
    stack: DeployedStack, open_inbox: OpenInbox, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    def deny(request: dict[str, Any]) -> None:
        raise refusal("AccessDenied")

    send_bodies(stack, GARBAGE)
    open_inbox(**spied(stack, call, deny))
    until(lambda: counts(stack, stack.dead_letter_queue_url)[0] == 1)
    assert sum("is left for the dead-letter queue" in line for line in caplog.messages) == 5
    assert "no permission: Call was denied" in caplog.text


def limit_receives(stack: DeployedStack, limit: int) -> None:
    answer = stack.sqs.get_queue_attributes(
        QueueUrl=stack.queue_url, AttributeNames=["RedrivePolicy"]
    )
    policy = json.loads(answer["Attributes"]["RedrivePolicy"]) | {"maxReceiveCount": limit}
    attributes = {"RedrivePolicy": json.dumps(policy)}
    stack.sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes=attributes)


def test_malformed_is_hidden_for_long_where_there_is_no_dead_letter_queue(
    stack: DeployedStack, open_inbox: OpenInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.holding.PROMPT_RECEIVES", 2)
    policy = {"RedrivePolicy": ""}
    stack.sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes=policy)
    send_bodies(stack, GARBAGE)
    inbox = open_inbox()
    until(lambda: inbox._parked)
    until(inbox.drained)  # although it is still there
    assert counts(stack) == (0, 1)


def test_malformed_does_not_affect_its_neighbours_in_an_outage(
    stack: DeployedStack, open_inbox: OpenInbox, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: dict[str, Any]) -> None:
        raise EndpointConnectionError(endpoint_url="http://down")

    send_bodies(stack, GARBAGE)
    send(stack, "a", "b", "c")
    inbox = open_inbox(receivers=1, **spied(stack, "change_message_visibility_batch", fail))
    (delivery, *_) = taken = take_all(inbox, 3)
    assert keys(taken) == ["a", "b", "c"]
    assert delivery.receive_count == 1


def test_the_test_event_is_deleted(
    stack: DeployedStack, open_inbox: OpenInbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    send_bodies(stack, TEST_EVENT)
    inbox = open_inbox()
    until(inbox.drained)
    assert counts(stack) == (0, 0)
    assert "has no object events; deleted" in caplog.text
