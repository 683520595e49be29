"""The messages in hand of an inbox: renewed, acknowledged, released, given back when it stops."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.support.aws import DeployedStack
from tests.support.traffic import (
    OpenInbox,
    counts,
    keys,
    receive,
    refusal,
    send,
    spied,
    take,
    take_all,
    until,
)

HOUR = 3600


# Holding


def test_what_is_held_stays_invisible(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, *(f"k{n:02}" for n in range(25)))
    inbox = open_inbox(visibility=3, capacity=13)
    until(lambda: len(inbox._ready) >= 12)
    taken = take(inbox, events=12)
    until(lambda: len(inbox._ready) == 13)  # its capacity: from here on only this test receives
    assert receive(stack, 6) == []
    inbox.acknowledge(taken)
    assert until(lambda: counts(stack) == (0, 13))


def test_a_renewal_that_failed_is_soon_tried_again(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    tried: list[float] = []

    def fail_once(request: dict[str, Any]) -> None:
        tried.append(time.monotonic())
        if len(tried) == 1:
            raise EndpointConnectionError(endpoint_url="http://down")

    send(stack, "a")
    inbox = open_inbox(visibility=6, **spied(stack, "change_message_visibility_batch", fail_once))
    take_all(inbox, 1)
    until(lambda: len(tried) == 2)
    assert tried[1] - tried[0] < 2.25  # of 6, of which up to 3 had passed


def test_held_for_12_hours_at_most(
    stack: DeployedStack,
    open_inbox: OpenInbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    passed = [0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0], time=time.time)
    monkeypatch.setattr("ingest.holding.time", clock)
    renewals: list[Any] = []
    send(stack, "a", "b")
    renewing = spied(stack, "change_message_visibility_batch", renewals.append)
    inbox = open_inbox(visibility=2, capacity=1, receivers=1, **renewing)
    (delivery,) = take(inbox, events=1)
    until(lambda: len(inbox._ready) == 1)  # its capacity: from here on only this test receives
    passed[0] = 11 * HOUR + 55 * 60
    until(lambda: len(renewals) >= 2)
    assert "12 h" not in caplog.text
    passed[0] = 12 * HOUR - 1  # a renewal would reach beyond the limit
    until(lambda: "12 h" in caplog.text)
    assert receive(stack, 10)
    inbox.acknowledge([delivery])  # late, but no error


def test_a_visibility_timeout_as_long_as_sqs_allows(
    stack: DeployedStack,
    open_inbox: OpenInbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With 43,200 s none can be renewed; here it is 4 s, and the limit is as much below as there."""
    monkeypatch.setattr("ingest.holding.MAX_HOLD_SECONDS", 3)
    send(stack, "a", "b")
    inbox = open_inbox(visibility=4)
    (kept, _) = take_all(inbox, 2)
    time.sleep(1.2)  # two rounds of renewals
    assert "12 h" not in caplog.text
    assert len(inbox._holding._held) == 2
    inbox.acknowledge([kept])
    inbox.stop()
    assert counts(stack) == (1, 0)  # given back at once, and not when its timeout ends


def test_what_another_receipt_replaced_is_forgotten(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    renewals: list[Any] = []
    send(stack, "a")
    inbox = open_inbox(
        visibility=2, **spied(stack, "change_message_visibility_batch", renewals.append)
    )
    (delivery,) = take_all(inbox, 1)
    stack.sqs.delete_message(QueueUrl=stack.queue_url, ReceiptHandle=delivery.receipt_handle)
    until(lambda: not inbox._holding._held)
    known = len(renewals)
    time.sleep(1.5)
    assert len(renewals) == known


def test_acknowledged_is_gone(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    names = [f"k{n:02}" for n in range(33)]
    send(stack, *names)
    inbox = open_inbox()
    taken = take_all(inbox, len(names))
    assert counts(stack) == (0, len(names))
    inbox.acknowledge(taken)
    until(lambda: counts(stack) == (0, 0))
    inbox.acknowledge(taken)  # may be repeated
    inbox.acknowledge([])


def test_what_cannot_be_deleted_comes_back(
    stack: DeployedStack, open_inbox: OpenInbox, caplog: pytest.LogCaptureFixture
) -> None:
    down = [True]

    def fail(request: dict[str, Any]) -> None:
        if down[0]:
            raise refusal("ServiceUnavailable")

    send(stack, "a", "b")
    inbox = open_inbox(visibility=2, **spied(stack, "delete_message_batch", fail))
    inbox.acknowledge(take_all(inbox, 2))
    until(lambda: "2 messages could not be deleted and will come back" in caplog.text)
    down[0] = False
    again = take_all(inbox, 2)
    assert keys(again) == ["a", "b"]
    inbox.acknowledge(again)
    until(lambda: counts(stack) == (0, 0))


def test_stop_waits_for_what_is_being_acknowledged(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    send(stack, *(f"k{n}" for n in range(6)))
    inbox = open_inbox(**spied(stack, "delete_message_batch", lambda _: time.sleep(1)))
    taken = take_all(inbox, 6)
    inbox.acknowledge(taken[:4])
    assert counts(stack) == (0, 6)  # whoever acknowledges does not wait
    inbox.stop()
    assert counts(stack) == (2, 0)
    inbox.acknowledge(taken[4:])  # too late: they were given back
    assert counts(stack) == (2, 0)


def test_released_is_visible_at_once(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    names = [f"k{n:02}" for n in range(15)]
    send(stack, *names)
    inbox = open_inbox(capacity=5)
    taken = take_all(inbox, len(names))
    until(lambda: counts(stack) == (0, len(names)))
    inbox.release(taken)
    assert keys(take_all(inbox, len(names))) == names


def test_released_with_a_delay(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    send(stack, "a")
    inbox = open_inbox()
    inbox.release(take_all(inbox, 1), delay_seconds=900)
    assert counts(stack) == (0, 1)
    assert not inbox._holding._held


def test_a_renewal_under_way_does_not_undo_a_release(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    under_way, go_on = threading.Event(), threading.Event()
    made: list[int] = []

    def hold_up(request: dict[str, Any]) -> None:
        seconds = request["Entries"][0]["VisibilityTimeout"]
        if seconds and not under_way.is_set():
            under_way.set()
            assert go_on.wait(60)
        made.append(seconds)

    send(stack, "a")
    inbox = open_inbox(visibility=4, **spied(stack, "change_message_visibility_batch", hold_up))
    taken = take_all(inbox, 1)
    assert under_way.wait(60)
    release = threading.Thread(target=inbox.release, args=(taken,))
    release.start()
    release.join(0.5)
    go_on.set()
    release.join()
    assert made == [4, 0]


# Stopping


def test_a_stop_costs_each_message_one_receive(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    """What it releases is not taken again by its own polls that are under way."""
    polling, go_on = threading.Event(), threading.Event()

    def hold_up(request: dict[str, Any]) -> None:
        if threading.current_thread().name != "sqs-receive-0":
            polling.set()
            assert go_on.wait(60)

    send(stack, *(f"k{n}" for n in range(10)))
    inbox = open_inbox(**spied(stack, "receive_message", hold_up))
    take_all(inbox, 10)
    assert polling.wait(60)
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    stop.join(0.5)
    go_on.set()
    stop.join()
    assert [each["Attributes"]["ApproximateReceiveCount"] for each in receive(stack, 1)] == [
        "2"
    ] * 10


def test_a_message_received_often_is_released_with_a_delay(
    stack: DeployedStack, open_inbox: OpenInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that fails again and again uses up the receives of its messages slowly."""
    monkeypatch.setattr("ingest.holding.PROMPT_RECEIVES", 2)
    send(stack, "often")
    for _ in range(2):
        assert receive(stack, 5, hidden=0)
    send(stack, "seldom")
    inbox = open_inbox()
    take_all(inbox, 2)
    inbox.stop()
    assert counts(stack) == (1, 1)


def test_nothing_expires_while_a_stop_waits_for_a_poll(
    stack: DeployedStack, open_inbox: OpenInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling = threading.Event()

    def hold_up(request: dict[str, Any]) -> None:
        if request["WaitTimeSeconds"] == 0:
            polling.set()
            time.sleep(3)

    inbox = open_inbox(receivers=1, visibility=2)
    send(stack, "a")
    take_all(inbox, 1)
    inbox._queue.client.replaced |= spied(stack, "receive_message", hold_up)
    assert polling.wait(60)
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    assert receive(stack, 2) == []
    stop.join()
    (released,) = receive(stack, 1)
    assert released["Attributes"]["ApproximateReceiveCount"] == "2"


def test_what_is_done_is_acknowledged_while_a_stop_waits_for_a_poll(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    polling = threading.Event()

    def hold_up(request: dict[str, Any]) -> None:
        polling.set()
        time.sleep(1)

    inbox = open_inbox(receivers=1)
    send(stack, "a", "b")
    taken = take_all(inbox, 2)
    inbox._queue.client.replaced |= spied(stack, "receive_message", hold_up)
    assert polling.wait(60)
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    until(inbox._stopping.is_set)
    inbox.acknowledge(taken[:1])
    stop.join()
    assert counts(stack) == (1, 0)


def test_stop_gives_everything_back(stack: DeployedStack, open_inbox: OpenInbox) -> None:
    names = [f"k{n:02}" for n in range(30)]
    send(stack, *names)
    inbox = open_inbox()
    until(lambda: len(inbox._ready) == 30)
    take(inbox, events=12)
    inbox.stop()
    assert counts(stack) == (30, 0)
    inbox.stop()  # may be repeated
    assert not any(thread.is_alive() for thread in inbox._receivers)


def test_stop_gives_back_what_a_poll_brings_late(
    stack: DeployedStack, open_inbox: OpenInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.inbox.LONG_POLL_SECONDS", 5)
    polls: list[Any] = []
    inbox = open_inbox(**spied(stack, "receive_message", polls.append))
    until(lambda: len(polls) == 2)  # the second is a long one
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    until(inbox._stopping.is_set)
    send(stack, "late")
    stop.join()
    (late,) = receive(stack, 1)
    assert late["Attributes"]["ApproximateReceiveCount"] == "2"


def test_every_stop_returns_when_all_is_released(
    stack: DeployedStack, open_inbox: OpenInbox
) -> None:
    releasing, go_on = threading.Event(), threading.Event()

    def hold_up(request: dict[str, Any]) -> None:
        releasing.set()
        assert go_on.wait(60)

    send(stack, "a")
    inbox = open_inbox(**spied(stack, "change_message_visibility_batch", hold_up))
    take_all(inbox, 1)
    stops = [threading.Thread(target=inbox.stop) for _ in range(2)]
    for stop in stops:
        stop.start()
    assert releasing.wait(60)
    until(lambda: not any(thread.is_alive() for thread in inbox._receivers))
    time.sleep(0.3)
    assert all(stop.is_alive() for stop in stops)
    go_on.set()
    for stop in stops:
        stop.join()
    assert counts(stack) == (1, 0)
