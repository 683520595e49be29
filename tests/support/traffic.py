"""Traffic of a queue under test: messages sent, taken from an inbox, received by another consumer.

Other consumers are plain SQS clients. For errors that the embedded AWS does not produce, the real client
is wrapped and one of its calls replaced.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from ingest.events import ObjectEvent, message
from ingest.inbox import Inbox
from ingest.queue import Delivery
from tests.support.aws import DeployedStack
from tests.support.object_events import NOON, event

TEST_EVENT = '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}'
EVENTS = [
    ObjectEvent("b", "a b+c%.jpg", None, None, None, "ObjectRemoved:Delete", NOON, None),
    ObjectEvent(
        "b", "🍎", "v1", "e", 0, "ObjectCreated:Put", NOON + timedelta(microseconds=1), "0A"
    ),
    ObjectEvent(
        "c", "d", "v2", "f", 2**63 - 1, "ObjectCreated:Copy", NOON.replace(year=1970), "FF"
    ),
]

PATIENCE = 180  # seconds for what takes ten on a quiet machine
OpenInbox = Callable[..., Inbox]


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until the condition is true, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition stayed false"
        time.sleep(0.02)
    return value


def send(stack: DeployedStack, *names: str, size: int | None = 100) -> None:
    """Send a message for each name; a name with commas becomes a message of several records."""
    send_bodies(
        stack,
        *(message([event(key, etag="e", size=size) for key in name.split(",")]) for name in names),
    )


def send_bodies(stack: DeployedStack, *bodies: str) -> None:
    entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
    for at in range(0, len(entries), 10):
        answer = stack.sqs.send_message_batch(
            QueueUrl=stack.queue_url, Entries=entries[at : at + 10]
        )
        assert not answer.get("Failed")


def counts(stack: DeployedStack, url: str = "") -> tuple[int, int]:
    """The number of messages that are visible, and of those in flight."""
    answer = stack.sqs.get_queue_attributes(QueueUrl=url or stack.queue_url, AttributeNames=["All"])
    attributes = answer["Attributes"]
    return (
        int(attributes["ApproximateNumberOfMessages"]),
        int(attributes["ApproximateNumberOfMessagesNotVisible"]),
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


def take(inbox: Inbox, events: int | None = None, size: int | None = None) -> list[Delivery]:
    return inbox.take(max_events=events, max_bytes=size, wait_seconds=60)


def take_all(inbox: Inbox, messages: int) -> list[Delivery]:
    """Take as many deliveries as ``messages``, however they arrive."""
    taken: list[Delivery] = []
    while len(taken) < messages:
        taken += (some := take(inbox))
        assert some, "no more arrived"
    return taken


def keys(deliveries: list[Delivery]) -> list[str]:
    return sorted(event.key for delivery in deliveries for event in delivery.events)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Call")


class Client:
    """The real client with some of its calls replaced."""

    def __init__(self, real: Any, replaced: dict[str, Callable[..., Any]]) -> None:
        self.real = real
        self.replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self.replaced.get(name) or getattr(self.real, name)


def stop_soon(stack: DeployedStack, inbox: Inbox) -> None:
    """Stop the inbox, and end its last polls early by sending messages."""
    stop = threading.Thread(target=inbox.stop)
    stop.start()
    with suppress(ClientError):  # the queue is gone
        while stop.is_alive():
            send_bodies(stack, TEST_EVENT)
            stop.join(0.1)
    stop.join()


def spied(
    stack: DeployedStack, name: str, before: Callable[[dict[str, Any]], None]
) -> dict[str, Callable[..., Any]]:
    """A replacement for a client's call that first calls ``before`` with the request."""

    def call(**request: Any) -> Any:
        before(request)
        return getattr(stack.sqs, name)(**request)

    return {name: call}
