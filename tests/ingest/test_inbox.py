"""The inbox: what it receives, within which limits, and when the queue is drained."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest.inbox import Inbox
from ingest.queue import Delivery, QueueError
from tests.support.aws import DeployedStack
from tests.support.traffic import (
    TEST_EVENT,
    OpenInbox,
    counts,
    keys,
    receive,
    send,
    send_bodies,
    spied,
    stop_soon,
    take,
    take_all,
    until,
)

# Receiving


def test_takes_within_the_limit_of_events(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, *(f"k{n}" for n in range(7)))
    inbox = open_inbox()
    until(lambda: len(inbox._ready) == 7)
    sizes = [len(take(inbox, events=3)) for _ in range(3)]
    assert sizes == [3, 3, 1]


def test_takes_within_the_limit_of_bytes(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, *(f"k{n}" for n in range(5)), size=100)
    inbox = open_inbox()
    until(lambda: len(inbox._ready) == 5)
    sizes = [len(take(inbox, events=100, size=250)) for _ in range(3)]
    assert sizes == [2, 2, 1]


def test_never_splits_a_message_and_takes_at_least_one(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    send(stack, *(f"a{n},b{n},c{n}" for n in range(4)))
    inbox = open_inbox()
    until(lambda: len(inbox._ready) == 4)
    assert [len(each.events) for each in take(inbox, events=1)] == [3]
    assert [len(each.events) for each in take(inbox, events=5)] == [3]
    assert [len(each.events) for each in take(inbox, events=6, size=1)] == [3]
    assert take(inbox)[0].bytes == 300


def test_unknown_sizes_count_as_none(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, "a", "b", size=None)
    inbox = open_inbox()
    until(lambda: len(inbox._ready) == 2)
    assert keys(take(inbox, size=1)) == ["a", "b"]


def test_takes_nothing_from_an_empty_queue(open_inbox: OpenInbox) -> None:
    started = time.monotonic()
    assert open_inbox().take(max_events=None, max_bytes=None, wait_seconds=0.5) == []
    assert time.monotonic() - started >= 0.5


def filling(inbox: Inbox, wait: float, fill: float, events: int = 3, size: int = 1000) -> list[str]:
    return keys(inbox.take(max_events=events, max_bytes=size, wait_seconds=wait, fill_seconds=fill))


def test_waits_for_a_micro_batch_to_fill(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, "a", "b")
    inbox = open_inbox()
    until(lambda: len(inbox._ready) == 2)
    began = time.monotonic()
    assert filling(inbox, wait=0.2, fill=9) == []
    assert 0.2 <= time.monotonic() - began < 5
    assert filling(inbox, wait=9, fill=9, size=200) == ["a", "b"]  # bytes are a limit, too
    send(stack, "c")
    began = time.monotonic()
    assert filling(inbox, wait=60, fill=0.5) == ["c"]
    assert 0.5 <= time.monotonic() - began < 30
    send(stack, *"defg")
    assert filling(inbox, wait=60, fill=60) == ["d", "e", "f"]
    assert filling(inbox, wait=60, fill=-math.inf) == ["g"]
    assert filling(inbox, wait=0.1, fill=0.2) == []


def test_nothing_fills_up_as_it_stops(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, "a")
    inbox = open_inbox()
    until(lambda: inbox._ready)
    with ThreadPoolExecutor() as pool:
        taken = pool.submit(filling, inbox, 60, 60)
        stop_soon(stack, inbox)
        assert taken.result(30) in (["a"], [])
    assert counts(stack)[1] == 0


def test_holds_no_more_than_its_capacity(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    names = [f"k{n:03}" for n in range(150)]
    send(stack, *names)
    inbox = open_inbox(capacity=25, receivers=4)
    until(lambda: counts(stack)[1] >= 25)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert counts(stack)[1] == 25
    got: list[Delivery] = []
    while len(got) < len(names):
        got += (taken := take(inbox, events=15))
        assert counts(stack)[1] <= 25 + len(taken)
        inbox.acknowledge(taken)
        until(lambda: counts(stack)[1] <= 25)
    assert keys(got) == names
    assert until(lambda: counts(stack) == (0, 0))


def test_one_poll_is_open_at_rest_and_several_under_load(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    polling: dict[str, int] = {}

    def note(request: dict[str, Any]) -> None:
        name = threading.current_thread().name
        polling[name] = polling.get(name, 0) + 1

    inbox = open_inbox(receivers=3, **spied(stack, "receive_message", note))
    until(lambda: polling.get("sqs-receive-0", 0) >= 2)
    assert set(polling) == {"sqs-receive-0"}
    names = [f"k{n:03}" for n in range(100)]
    send(stack, *names)
    assert keys(take_all(inbox, len(names))) == names
    assert len(polling) > 1


def test_passes_on_what_sqs_reports(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    send(stack, "a")
    first = receive(stack, 5, hidden=0)[0]
    (delivery,) = take_all(open_inbox(), 1)
    assert delivery.message_id == first["MessageId"]
    assert delivery.receive_count == 2
    assert before < delivery.sent_at < datetime.now(UTC) + timedelta(seconds=2)


def test_does_without_what_an_implementation_leaves_out(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    def bare(**request: Any) -> Any:
        answer = stack.sqs.receive_message(**request)
        for each in answer.get("Messages", []):
            del each["Attributes"]
        return answer

    send(stack, "a")
    (delivery,) = take_all(open_inbox(receive_message=bare), 1)
    assert delivery.receive_count == 1
    assert abs(delivery.sent_at - datetime.now(UTC)) < timedelta(minutes=1)


# Drained


def test_drained(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, "a")
    inbox = open_inbox()
    assert not inbox.drained()  # no poll has found nothing yet
    until(lambda: inbox._ready)
    assert not inbox.drained()
    taken = take_all(inbox, 1)
    until(inbox.drained)  # what the consumer has in hand is no longer to come
    inbox.acknowledge(taken)
    assert inbox.drained()


def test_not_drained_while_another_consumer_holds_a_message(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    send(stack, "a")
    (theirs,) = receive(stack, 5)
    inbox = open_inbox()
    until(lambda: inbox._empty_polls)
    assert not inbox.drained()
    stack.sqs.delete_message(QueueUrl=stack.queue_url, ReceiptHandle=theirs["ReceiptHandle"])
    until(inbox.drained)


def test_not_drained_while_a_message_is_delayed(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    stack.sqs.send_message(QueueUrl=stack.queue_url, MessageBody=TEST_EVENT, DelaySeconds=900)
    inbox = open_inbox()
    until(lambda: inbox._empty_polls)
    assert not inbox.drained()


def test_not_drained_if_sqs_made_dead_letters_of_messages(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    """Those were never handed out, so whoever drains the queue must not report success."""
    send(stack, "a", "b")
    for _ in range(stack.stack.max_receives):
        assert len(receive(stack, 5, hidden=0)) == 2
    send(stack, "c")
    send_bodies(stack, "malformed")  # is moved by the inbox itself
    inbox = open_inbox()
    inbox.acknowledge(take_all(inbox, 1))
    with pytest.raises(QueueError, match="2 messages became dead letters while it was drained"):
        until(inbox.drained)


def test_dead_letters_of_before_do_not_matter(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    stack.sqs.send_message(QueueUrl=stack.dead_letter_queue_url, MessageBody="{}")
    until(open_inbox().drained)
