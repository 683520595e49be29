"""Faults of a queue and outages: named with the fix, or waited out."""

import time
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

import ingest.inbox
from infra_scripts.embedded import EmbeddedAws
from ingest.queue import QueueError
from tests.support.aws import DeployedStack
from tests.support.limited import calling_as, session_of
from tests.support.relay import Relay
from tests.support.traffic import (
    OpenInbox,
    counts,
    keys,
    refusal,
    send,
    spied,
    take,
    take_all,
    until,
)


def test_a_missing_queue_is_named_with_the_fix(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    url = f"{stack.queue_url}-missing"
    inbox = open_inbox(url=url)
    with pytest.raises(QueueError, match="does not exist: deploy it or correct its name") as caught:
        take(inbox)
    assert url in str(caught.value)
    with pytest.raises(QueueError):
        inbox.drained()


def test_a_queue_that_is_deleted(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    inbox = open_inbox()
    assert inbox.take(max_events=None, max_bytes=None, wait_seconds=0.1) == []
    stack.sqs.delete_queue(QueueUrl=stack.queue_url)
    with pytest.raises(QueueError, match="does not exist"):
        take(inbox)


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("receive_message", "sqs:ReceiveMessage"),
        ("get_queue_attributes", "sqs:GetQueueAttributes"),
        ("delete_message_batch", "sqs:DeleteMessage"),
        ("change_message_visibility_batch", "sqs:ChangeMessageVisibility"),
    ],
)
def test_denied_access_is_named_with_the_fix(
    stack: DeployedStack, open_inbox: OpenInbox, call: str, action: str
) -> None:
    def deny(request: dict[str, Any]) -> None:
        raise refusal("AccessDenied")

    inbox = open_inbox(visibility=2, **spied(stack, call, deny))

    def use() -> None:
        send(stack, "a")
        until(lambda: inbox._fault or inbox._ready or inbox._empty_polls)
        inbox.acknowledge(take(inbox))
        until(lambda: inbox.drained() and False, seconds=30)

    if call == "change_message_visibility_batch":
        send(stack, "a")
        take_all(inbox, 1)
        until(lambda: inbox._fault)
    with pytest.raises(QueueError, match=action) as caught:
        use()
    assert stack.queue_url in str(caught.value)


def test_a_role_that_may_not_delete_messages_loses_none(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    actions = ["ReceiveMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl"]
    allow = {"Effect": "Allow", "Action": [f"sqs:{name}" for name in actions], "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [allow]}
    with calling_as(session_of(stack.stack.queue, policy)):
        inbox = open_inbox(visibility=2)
    send(stack, "a")
    inbox.acknowledge(take_all(inbox, 1))
    with pytest.raises(QueueError, match=r"access denied: allow .*sqs:DeleteMessage"):
        until(lambda: inbox.drained() and False, seconds=30)
    inbox.stop()
    until(lambda: counts(stack) == (1, 0))


@pytest.mark.parametrize(
    "error",
    [refusal("ThrottlingException"), ResponseParserError("<html>"), KeyError("Messages")],
    ids=["throttled", "unreadable", "incomplete"],
)
def test_other_errors_are_waited_out(
    stack: DeployedStack, open_inbox: OpenInbox, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    calls: list[Any] = []

    def fail_at_first(request: dict[str, Any]) -> None:
        calls.append(request)
        if len(calls) <= 2:
            raise error

    send(stack, "a")
    inbox = open_inbox(receivers=1, **spied(stack, "receive_message", fail_at_first))
    assert keys(take_all(inbox, 1)) == ["a"]
    assert f"trying again: {type(error).__name__}" in caplog.text


def test_an_outage_is_survived(
    aws: EmbeddedAws,
    stack: DeployedStack,
    open_inbox: OpenInbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    relay = Relay(aws.endpoint_url)
    relay.open()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        send(stack, "before")
        inbox = open_inbox()
        before = take_all(inbox, 1)
        relay.close()
        until(lambda: "cannot receive from" in caplog.text)
        assert not inbox.drained()
        time.sleep(ingest.inbox.LONG_POLL_SECONDS + 4)  # cut-off polls end, and take no message
        send(stack, "during")
        relay.open()
        assert keys(take_all(inbox, 1)) == ["during"]
        inbox.acknowledge(before)
        assert until(lambda: counts(stack) == (0, 1))
        inbox.stop()
        assert counts(stack) == (1, 0)
    finally:
        relay.close()
