"""The inbox on the embedded AWS: what it holds, what it gives back, and what it survives.

Other consumers are plain SQS clients. Where an error cannot be had from the embedded AWS, the real
client is wrapped and one of its calls replaced.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from infra_scripts.embedded import EmbeddedAws
from ingest import queue
from ingest.events import ObjectEvent, message
from ingest.queue import Delivery, Inbox, QueueError
from tests.aws import DeployedStack

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
TEST_EVENT = '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}'
GARBAGE = "no message at all"
HOUR = 3600

Opened = Callable[..., Inbox]


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for something to become true; what it then is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return value


def send(stack: DeployedStack, *names: str, size: int | None = 100) -> None:
    """A message for each of the names; one that has commas carries several records."""
    event = ObjectEvent("b", "k", None, "e", size, "ObjectCreated:Put", NOON, None)
    bodies = [
        message([ObjectEvent("b", key, *_rest(event)) for key in name.split(",")]) for name in names
    ]
    send_bodies(stack, *bodies)


def _rest(event: ObjectEvent) -> tuple[Any, ...]:
    return event.version_id, event.etag, event.size, event.event_name, event.event_time, None


def send_bodies(stack: DeployedStack, *bodies: str) -> None:
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    for at in range(0, len(entries), 10):
        answer = stack.sqs.send_message_batch(
            QueueUrl=stack.queue_url, Entries=entries[at : at + 10]
        )
        assert not answer.get("Failed")


def counts(stack: DeployedStack, url: str = "") -> tuple[int, int]:
    """How many messages are visible, and how many in flight."""
    told = stack.sqs.get_queue_attributes(QueueUrl=url or stack.queue_url, AttributeNames=["All"])[
        "Attributes"
    ]
    return (
        int(told["ApproximateNumberOfMessages"]),
        int(told["ApproximateNumberOfMessagesNotVisible"]),
    )


def receive(stack: DeployedStack, seconds: int, hidden: int = 60) -> list[dict[str, Any]]:
    """Another consumer's poll."""
    return stack.sqs.receive_message(
        QueueUrl=stack.queue_url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=seconds,
        VisibilityTimeout=hidden,
        MessageSystemAttributeNames=["All"],
    ).get("Messages", [])


def take(inbox: Inbox, files: int | None = None, size: int | None = None) -> list[Delivery]:
    return inbox.take(max_files=files, max_bytes=size, wait_seconds=60)


def take_all(inbox: Inbox, messages: int) -> list[Delivery]:
    """So many deliveries, however they arrive."""
    taken: list[Delivery] = []
    while len(taken) < messages:
        taken += (some := take(inbox))
        assert some, "no more came"
    return taken


def keys(deliveries: list[Delivery]) -> list[str]:
    return sorted(event.key for delivery in deliveries for event in delivery.events)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")


class Client:
    """The real client, but for some of its calls."""

    def __init__(self, real: Any, replaced: dict[str, Callable[..., Any]]) -> None:
        self.real = real
        self.replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self.replaced.get(name) or getattr(self.real, name)


def stop_soon(stack: DeployedStack, inbox: Inbox) -> None:
    """Stop it, and cut its last polls short."""
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    with suppress(ClientError):  # the queue is gone
        while stop.is_alive():
            send_bodies(stack, TEST_EVENT)
            stop.join(0.1)
    stop.join()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LONG_POLL_SECONDS", 1)
    monkeypatch.setattr(queue, "OUTAGE_PAUSE_SECONDS", 0.2)


@pytest.fixture
def opened(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Opens inboxes on the stack's queue; ``replaced`` names calls of its client to replace."""
    connect = queue.connect
    with ExitStack() as ending:

        def open_inbox(
            capacity: int = 1000,
            visibility: int = 60,
            receivers: int = 2,
            url: str = "",
            **replaced: Callable[..., Any],
        ) -> Inbox:
            monkeypatch.setattr(queue, "connect", lambda n: Client(connect(n), replaced))
            inbox = Inbox(
                url or stack.queue_url,
                capacity=capacity,
                visibility_timeout_seconds=visibility,
                receivers=receivers,
            )
            ending.callback(stop_soon, stack, inbox)
            return inbox

        yield open_inbox


def spied(
    stack: DeployedStack, name: str, before: Callable[[dict[str, Any]], None]
) -> dict[str, Callable[..., Any]]:
    """A call of the client that does something before it is made."""

    def call(**request: Any) -> Any:
        before(request)
        return getattr(stack.sqs, name)(**request)

    return {name: call}


# Receiving


def test_takes_within_the_limit_of_files(stack: DeployedStack, opened: Opened) -> None:
    send(stack, *(f"k{n}" for n in range(7)))
    inbox = opened()
    until(lambda: len(inbox._ready) == 7)
    sizes = [len(take(inbox, files=3)) for _ in range(3)]
    assert sizes == [3, 3, 1]


def test_takes_within_the_limit_of_bytes(stack: DeployedStack, opened: Opened) -> None:
    send(stack, *(f"k{n}" for n in range(5)), size=100)
    inbox = opened()
    until(lambda: len(inbox._ready) == 5)
    sizes = [len(take(inbox, files=100, size=250)) for _ in range(3)]
    assert sizes == [2, 2, 1]


def test_never_splits_a_message_and_takes_at_least_one(
    stack: DeployedStack, opened: Opened
) -> None:
    send(stack, *(f"a{n},b{n},c{n}" for n in range(4)))
    inbox = opened()
    until(lambda: len(inbox._ready) == 4)
    assert [each.files for each in take(inbox, files=1)] == [3]
    assert [each.files for each in take(inbox, files=5)] == [3]
    assert [each.files for each in take(inbox, files=6, size=1)] == [3]
    assert take(inbox)[0].bytes == 300


def test_unknown_sizes_count_as_none(stack: DeployedStack, opened: Opened) -> None:
    send(stack, "a", "b", size=None)
    inbox = opened()
    until(lambda: len(inbox._ready) == 2)
    assert keys(take(inbox, size=1)) == ["a", "b"]


def test_takes_nothing_from_an_empty_queue(opened: Opened) -> None:
    started = time.monotonic()
    assert opened().take(max_files=None, max_bytes=None, wait_seconds=0.5) == []
    assert time.monotonic() - started >= 0.5


def test_holds_little_more_than_its_capacity(stack: DeployedStack, opened: Opened) -> None:
    names = [f"k{n:03}" for n in range(150)]
    send(stack, *names)
    inbox = opened(capacity=20, receivers=4)
    until(lambda: counts(stack)[1] >= 20)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        assert counts(stack)[1] <= 20 + 4 * queue.BATCH
    got: list[Delivery] = []
    while len(got) < len(names):
        got += (taken := take(inbox, files=15))
        inbox.acknowledge(taken)
        assert counts(stack)[1] <= 20 + 4 * queue.BATCH
    assert keys(got) == names
    assert until(lambda: counts(stack) == (0, 0))


def test_one_poll_is_open_at_rest_and_several_under_load(
    stack: DeployedStack, opened: Opened
) -> None:
    polling: dict[str, int] = {}

    def note(request: dict[str, Any]) -> None:
        name = threading.current_thread().name
        polling[name] = polling.get(name, 0) + 1

    inbox = opened(receivers=3, **spied(stack, "receive_message", note))
    until(lambda: polling.get("sqs-receive-0", 0) >= 2)
    assert set(polling) == {"sqs-receive-0"}
    names = [f"k{n:03}" for n in range(100)]
    send(stack, *names)
    assert keys(take_all(inbox, len(names))) == names
    assert len(polling) > 1


def test_tells_what_sqs_told(stack: DeployedStack, opened: Opened) -> None:
    before = time.time() * 1000
    send(stack, "a")
    first = receive(stack, 5, hidden=0)[0]
    (delivery,) = take_all(opened(), 1)
    assert delivery.message_id == first["MessageId"]
    assert delivery.receive_count == 2
    assert before - 2000 < delivery.sent_at_ms < time.time() * 1000 + 2000


def test_does_without_what_an_implementation_leaves_out(
    stack: DeployedStack, opened: Opened
) -> None:
    def bare(**request: Any) -> Any:
        answer = stack.sqs.receive_message(**request)
        for each in answer.get("Messages", []):
            del each["Attributes"]
        return answer

    send(stack, "a")
    (delivery,) = take_all(opened(receive_message=bare), 1)
    assert delivery.receive_count == 1
    assert abs(delivery.sent_at_ms / 1000 - time.time()) < 60


def test_region_as_the_other_tools_of_aws_read_it(
    aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    client = queue.connect(1)
    client.close()
    assert client.meta.region_name == "eu-west-3"


# Holding


def test_what_is_held_stays_invisible(stack: DeployedStack, opened: Opened) -> None:
    send(stack, *(f"k{n:02}" for n in range(25)))
    inbox = opened(visibility=3, capacity=13)
    until(lambda: len(inbox._ready) >= 12)
    taken = take(inbox, files=12)
    until(lambda: len(inbox._ready) == 13)  # which is all it wants, so that only we receive
    assert receive(stack, 6) == []
    inbox.acknowledge(taken)
    assert until(lambda: counts(stack) == (0, 13))


def test_a_renewal_that_failed_is_soon_tried_again(stack: DeployedStack, opened: Opened) -> None:
    tried: list[float] = []

    def fail_once(request: dict[str, Any]) -> None:
        tried.append(time.monotonic())
        if len(tried) == 1:
            raise EndpointConnectionError(endpoint_url="http://down")

    send(stack, "a")
    inbox = opened(visibility=6, **spied(stack, "change_message_visibility_batch", fail_once))
    take_all(inbox, 1)
    until(lambda: len(tried) == 2)
    assert tried[1] - tried[0] < 2.25  # of 6, of which up to 3 had passed


def test_held_for_12_hours_at_most(
    stack: DeployedStack,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    passed = [0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0], time=time.time)
    monkeypatch.setattr(queue, "time", clock)
    renewals: list[Any] = []
    send(stack, "a", "b")
    renewing = spied(stack, "change_message_visibility_batch", renewals.append)
    inbox = opened(visibility=2, capacity=1, receivers=1, **renewing)
    (delivery,) = take(inbox, files=1)
    until(lambda: len(inbox._ready) == 1)  # which is all it wants, so that only we receive
    passed[0] = 11 * HOUR + 55 * 60
    until(lambda: len(renewals) >= 2)
    assert "12 h" not in caplog.text
    passed[0] = 12 * HOUR - 1  # a renewal would reach beyond the limit
    until(lambda: "12 h" in caplog.text)
    assert receive(stack, 10)
    inbox.acknowledge([delivery])  # late, but no error


def test_what_another_receipt_replaced_is_forgotten(stack: DeployedStack, opened: Opened) -> None:
    renewals: list[Any] = []
    send(stack, "a")
    inbox = opened(visibility=2, **spied(stack, "change_message_visibility_batch", renewals.append))
    (delivery,) = take_all(inbox, 1)
    stack.sqs.delete_message(QueueUrl=stack.queue_url, ReceiptHandle=delivery.receipt_handle)
    until(lambda: not inbox._held)
    known = len(renewals)
    time.sleep(1.5)
    assert len(renewals) == known


def test_acknowledged_is_gone(stack: DeployedStack, opened: Opened) -> None:
    names = [f"k{n:02}" for n in range(33)]
    send(stack, *names)
    inbox = opened()
    taken = take_all(inbox, len(names))
    assert counts(stack) == (0, len(names))
    inbox.acknowledge(taken)
    assert counts(stack) == (0, 0)
    inbox.acknowledge(taken)  # may be repeated
    inbox.acknowledge([])


def test_what_cannot_be_deleted_comes_back(
    stack: DeployedStack, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    down = [True]

    def fail(request: dict[str, Any]) -> None:
        if down[0]:
            raise refusal("ServiceUnavailable")

    send(stack, "a", "b")
    inbox = opened(visibility=2, **spied(stack, "delete_message_batch", fail))
    inbox.acknowledge(take_all(inbox, 2))
    assert "2 messages could not be deleted and will come back" in caplog.text
    down[0] = False
    again = take_all(inbox, 2)
    assert keys(again) == ["a", "b"]
    inbox.acknowledge(again)
    assert counts(stack) == (0, 0)


def test_released_is_visible_at_once(stack: DeployedStack, opened: Opened) -> None:
    names = [f"k{n:02}" for n in range(15)]
    send(stack, *names)
    inbox = opened(capacity=5)
    taken = take_all(inbox, len(names))
    until(lambda: counts(stack) == (0, len(names)))
    inbox.release(taken)
    assert keys(take_all(inbox, len(names))) == names


def test_released_with_a_delay(stack: DeployedStack, opened: Opened) -> None:
    send(stack, "a")
    inbox = opened()
    inbox.release(take_all(inbox, 1), delay_seconds=900)
    assert counts(stack) == (0, 1)
    assert not inbox._held


def test_a_renewal_under_way_does_not_undo_a_release(stack: DeployedStack, opened: Opened) -> None:
    under_way, go_on = threading.Event(), threading.Event()
    made: list[int] = []

    def hold_up(request: dict[str, Any]) -> None:
        seconds = request["Entries"][0]["VisibilityTimeout"]
        if seconds and not under_way.is_set():
            under_way.set()
            assert go_on.wait(60)
        made.append(seconds)

    send(stack, "a")
    inbox = opened(visibility=4, **spied(stack, "change_message_visibility_batch", hold_up))
    taken = take_all(inbox, 1)
    assert under_way.wait(60)
    release = threading.Thread(target=inbox.release, args=(taken,))
    release.start()
    release.join(0.5)
    go_on.set()
    release.join()
    assert made == [4, 0]


# Stopping


def test_stop_gives_everything_back(stack: DeployedStack, opened: Opened) -> None:
    names = [f"k{n:02}" for n in range(30)]
    send(stack, *names)
    inbox = opened()
    until(lambda: len(inbox._ready) == 30)
    take(inbox, files=12)
    inbox.stop()
    assert counts(stack) == (30, 0)
    inbox.stop()  # may be repeated
    assert not any(thread.is_alive() for thread in inbox._threads)


def test_stop_gives_back_what_a_poll_brings_late(
    stack: DeployedStack, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "LONG_POLL_SECONDS", 5)
    polls: list[Any] = []
    inbox = opened(**spied(stack, "receive_message", polls.append))
    until(lambda: len(polls) == 2)  # the second is a long one
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    until(inbox._stopping.is_set)
    send(stack, "late")
    stop.join()
    (late,) = receive(stack, 1)
    assert late["Attributes"]["ApproximateReceiveCount"] == "2"


def test_every_stop_returns_when_all_is_released(stack: DeployedStack, opened: Opened) -> None:
    releasing, go_on = threading.Event(), threading.Event()

    def hold_up(request: dict[str, Any]) -> None:
        releasing.set()
        assert go_on.wait(60)

    send(stack, "a")
    inbox = opened(**spied(stack, "change_message_visibility_batch", hold_up))
    take_all(inbox, 1)
    stops = [threading.Thread(target=inbox.stop) for _ in range(2)]
    for stop in stops:
        stop.start()
    assert releasing.wait(60)
    until(lambda: not any(thread.is_alive() for thread in inbox._threads))
    time.sleep(0.3)
    assert all(stop.is_alive() for stop in stops)
    go_on.set()
    for stop in stops:
        stop.join()
    assert counts(stack) == (1, 0)


# Messages that announce no photo


def test_malformed_ends_as_a_dead_letter(
    stack: DeployedStack, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    send_bodies(stack, GARBAGE)
    send(stack, "a", "b")
    inbox = opened()
    taken = take_all(inbox, 2)
    assert keys(taken) == ["a", "b"]
    inbox.acknowledge(taken)
    until(lambda: counts(stack, stack.dead_letter_queue_url)[0] == 1)
    until(inbox.drained)
    assert counts(stack) == (0, 0)
    (dead,) = stack.sqs.receive_message(QueueUrl=stack.dead_letter_queue_url)["Messages"]
    assert dead["Body"] == GARBAGE
    lines = [line for line in caplog.messages if line.startswith("malformed message")]
    assert len(lines) == stack.stack.max_receives
    assert all(dead["MessageId"] in line for line in lines)
    assert "body is not JSON" in lines[0]


def test_malformed_is_put_off_where_no_queue_takes_dead_letters(
    stack: DeployedStack, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "PROMPT_RETRIES", 2)
    policy = {"RedrivePolicy": ""}
    stack.sqs.set_queue_attributes(QueueUrl=stack.queue_url, Attributes=policy)
    send_bodies(stack, GARBAGE)
    inbox = opened()
    until(lambda: inbox._parked)
    until(inbox.drained)  # though it is still there
    assert counts(stack) == (0, 1)


def test_malformed_hurts_no_neighbour_in_an_outage(
    stack: DeployedStack, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: dict[str, Any]) -> None:
        raise EndpointConnectionError(endpoint_url="http://down")

    send_bodies(stack, GARBAGE)
    send(stack, "a", "b", "c")
    inbox = opened(receivers=1, **spied(stack, "change_message_visibility_batch", fail))
    (delivery, *_) = taken = take_all(inbox, 3)
    assert keys(taken) == ["a", "b", "c"]
    assert delivery.receive_count == 1


def test_the_test_event_is_acknowledged(
    stack: DeployedStack, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    send_bodies(stack, TEST_EVENT)
    inbox = opened()
    until(inbox.drained)
    assert counts(stack) == (0, 0)
    assert "announces no photo; acknowledged" in caplog.text


# Drained


def test_drained(stack: DeployedStack, opened: Opened) -> None:
    send(stack, "a")
    inbox = opened()
    assert not inbox.drained()  # no poll has found nothing yet
    until(lambda: inbox._ready)
    assert not inbox.drained()
    taken = take_all(inbox, 1)
    until(inbox.drained)  # what the consumer has in hand is no longer to come
    inbox.acknowledge(taken)
    assert inbox.drained()


def test_not_drained_while_another_consumer_holds_a_message(
    stack: DeployedStack, opened: Opened
) -> None:
    send(stack, "a")
    (theirs,) = receive(stack, 5)
    inbox = opened()
    until(lambda: inbox._empty_polls)
    assert not inbox.drained()
    stack.sqs.delete_message(QueueUrl=stack.queue_url, ReceiptHandle=theirs["ReceiptHandle"])
    until(inbox.drained)


def test_not_drained_while_a_message_is_delayed(stack: DeployedStack, opened: Opened) -> None:
    stack.sqs.send_message(QueueUrl=stack.queue_url, MessageBody=TEST_EVENT, DelaySeconds=900)
    inbox = opened()
    until(lambda: inbox._empty_polls)
    assert not inbox.drained()


# Faults and outages


def test_a_missing_queue_is_named_with_the_fix(stack: DeployedStack, opened: Opened) -> None:
    url = f"{stack.queue_url}-missing"
    inbox = opened(url=url)
    with pytest.raises(QueueError, match="does not exist: deploy it or correct its name") as caught:
        take(inbox)
    assert url in str(caught.value)
    with pytest.raises(QueueError):
        inbox.drained()


def test_a_queue_deleted_meanwhile(stack: DeployedStack, opened: Opened) -> None:
    inbox = opened()
    assert inbox.take(max_files=None, max_bytes=None, wait_seconds=0.1) == []
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
    stack: DeployedStack, opened: Opened, call: str, action: str
) -> None:
    def deny(request: dict[str, Any]) -> None:
        raise refusal("AccessDenied")

    inbox = opened(visibility=2, **spied(stack, call, deny))

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


@pytest.mark.parametrize(
    "error",
    [refusal("ThrottlingException"), ResponseParserError("<html>"), KeyError("Messages")],
    ids=["throttled", "unreadable", "incomplete"],
)
def test_other_errors_are_waited_out(
    stack: DeployedStack, opened: Opened, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    calls: list[Any] = []

    def fail_at_first(request: dict[str, Any]) -> None:
        calls.append(request)
        if len(calls) <= 2:
            raise error

    send(stack, "a")
    inbox = opened(receivers=1, **spied(stack, "receive_message", fail_at_first))
    assert keys(take_all(inbox, 1)) == ["a"]
    assert f"trying again: {type(error).__name__}" in caplog.text


class Relay:
    """A port that leads to the embedded AWS, and can be closed and opened again."""

    def __init__(self, target: str) -> None:
        self._target = (urlsplit(target).hostname, urlsplit(target).port)
        self._open: list[socket.socket] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._open.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        while self._open:  # a connection accepted meanwhile is closed now, or by the next call
            each = self._open.pop()
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                self._open.append(near)
                far = socket.create_connection(self._target)
                self._open.append(far)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def test_an_outage_is_survived(
    aws: EmbeddedAws,
    stack: DeployedStack,
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    relay = Relay(aws.endpoint_url)
    relay.open()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        send(stack, "before")
        inbox = opened()
        before = take_all(inbox, 1)
        relay.close()
        until(lambda: "cannot receive from" in caplog.text)
        assert not inbox.drained()
        time.sleep(queue.LONG_POLL_SECONDS + 4)  # cut-off polls end by then, and take no message
        send(stack, "meanwhile")
        relay.open()
        assert keys(take_all(inbox, 1)) == ["meanwhile"]
        inbox.acknowledge(before)
        assert until(lambda: counts(stack) == (0, 1))
        inbox.stop()
        assert counts(stack) == (1, 0)
    finally:
        relay.close()
