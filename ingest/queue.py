"""The queue: SQS messages received, kept invisible while they are worked on, acknowledged, released.

Errors::

    QueueError              the queue cannot be used as configured; restarting alone does not help

Everything else that AWS answers (throttling, outages) is waited out, with a log line.

Delivery guarantee: at least once. A message is deleted only by :meth:`Inbox.acknowledge`. What is
neither acknowledged nor released (the process was killed) becomes visible again after the visibility
timeout, because only a living process renews it.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ingest.events import MalformedMessage, ObjectEvent, parse

log = logging.getLogger(__name__)

BATCH = 10  # SQS takes and gives at most ten messages a call
LINGER_SECONDS = 0.5  # for a micro-batch to fill under load; each costs time, whatever its size
LONG_POLL_SECONDS = 10  # of 20 possible: a poll that is cut off may take messages with it
LOADED_POLL_SECONDS = 1  # short, so that a receiver is back at rest soon after the queue ran dry
MAX_HOLD_SECONDS = 12 * 3600 - 60  # SQS ends a message's invisibility 12 h after its receipt
PROMPT_RETRIES = 10  # a queue without a dead-letter queue must not spin on a malformed message
LATE_RETRY_SECONDS = 900
OUTAGE_PAUSE_SECONDS = 5.0
COUNTS = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
_FIXES = {
    "the queue does not exist: deploy it or correct its name": (
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
    ),
    "access denied: allow sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and "
    "sqs:GetQueueAttributes on it": ("AccessDenied", "AccessDeniedException"),
    "the credentials are not valid": (
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
    ),
}
FATAL = {code: fix for fix, codes in _FIXES.items() for code in codes}


class QueueError(RuntimeError):
    """The queue cannot be used as configured; the message names the cause and the fix."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One received message and the object events in it (at least one)."""

    message_id: str
    receipt_handle: str
    receive_count: int
    sent_at_ms: int
    events: tuple[ObjectEvent, ...]
    received_at: float = field(default_factory=time.monotonic)

    @property
    def files(self) -> int:
        return len(self.events)

    @property
    def bytes(self) -> int:
        return sum(event.size or 0 for event in self.events)


def connect(connections: int) -> Any:
    """An SQS client from the standard AWS chain, for several threads and long polls."""
    return boto3.client(
        "sqs",
        region_name=os.environ.get("AWS_REGION") or None,  # boto3 reads only AWS_DEFAULT_REGION
        config=Config(
            max_pool_connections=connections,
            connect_timeout=5,
            read_timeout=LONG_POLL_SECONDS + 10,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


class Inbox:
    """Receives ahead of the consumer, up to ``capacity`` object events, and renews what it holds.

    The consumer may change ``capacity`` at any time.

    ``receivers`` threads share the work under load; idle, a single long poll is open. A second thread
    renews every held message at half the visibility timeout from the moment it is received, until it
    is acknowledged or released.

    Messages without a photo in them (S3's test event) are acknowledged on receipt. A malformed
    message is logged and made visible again, never deleted: the queue's redrive policy moves it to
    the dead-letter queue.
    """

    def __init__(
        self, queue_url: str, *, capacity: int, visibility_timeout_seconds: int, receivers: int
    ) -> None:
        self._url = queue_url
        self.capacity = capacity
        self._visibility = visibility_timeout_seconds
        self._client = connect(receivers + 10)
        self._changed = threading.Condition()
        self._renewing = threading.Lock()  # taken for each round of renewals
        self._ending = threading.Lock()
        self._ready: deque[Delivery] = deque()
        self._held: dict[str, tuple[Delivery, float]] = {}  # by receipt handle: when last renewed
        self._fault: QueueError | None = None
        self._stopping = threading.Event()
        self._under_load = threading.Event()
        self._empty_polls = 0
        self._parked: set[str] = set()  # malformed messages that were put off for long
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="sqs-settle")
        self._acknowledger = ThreadPoolExecutor(1, thread_name_prefix="sqs-acknowledge")
        self._threads = [
            threading.Thread(target=self._receive, args=(n,), name=f"sqs-receive-{n}", daemon=True)
            for n in range(receivers)
        ]
        self._threads.append(threading.Thread(target=self._renew, name="sqs-renew", daemon=True))
        for thread in self._threads:
            thread.start()

    def take(
        self, *, max_files: int | None, max_bytes: int | None, wait_seconds: float
    ) -> list[Delivery]:
        """Next deliveries within both limits (at least one delivery), waiting for the first if need be.

        Under load it waits a moment longer, for as many as ``max_files``. Returns an empty list after
        ``wait_seconds`` without any. Raises :class:`QueueError`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._fault, wait_seconds)
            self._changed.wait_for(lambda: self._are_enough(max_files), LINGER_SECONDS)
            if self._fault:
                raise self._fault
            taken: list[Delivery] = []
            files = size = 0
            while self._ready:
                files += self._ready[0].files
                size += self._ready[0].bytes
                over = (max_files is not None and files > max_files) or (
                    max_bytes is not None and size > max_bytes
                )
                if taken and over:
                    break
                taken.append(self._ready.popleft())
            self._changed.notify_all()
            return taken

    def _are_enough(self, wanted: int | None) -> bool:
        """Whether no more than is ready need be waited for."""
        if self._fault or self._stopping.is_set() or not self._under_load.is_set():
            return True
        ready = sum(delivery.files for delivery in self._ready)
        return ready >= min(self.capacity, wanted if wanted is not None else self.capacity)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Have the messages deleted, in a thread of its own: a thousand take a third of a second.

        What is not deleted, as the inbox stops or SQS fails, comes back and is found to be done.
        """
        if not self._stopping.is_set():
            self._acknowledger.submit(self._delete, deliveries)

    def release(self, deliveries: Sequence[Delivery], delay_seconds: int = 0) -> None:
        """Make the messages visible again after ``delay_seconds``."""
        with self._renewing:  # a renewal under way could reach SQS later, and undo this
            self._forget(deliveries)
        self._hide(deliveries, delay_seconds)

    def drained(self) -> bool:
        """True when nothing is ready here, a whole poll found nothing, and the queue reports nothing.

        Messages that another consumer holds count as present: they may come back.
        """
        with self._changed:
            if self._fault:
                raise self._fault
            if self._ready or self._empty_polls == 0:
                return False
            held = len(self._held)
        try:
            attributes = self._client.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=COUNTS
            )["Attributes"]
        except (BotoCoreError, ClientError) as error:
            self._fail_or_pause(error)
            return False
        return sum(int(number) for number in attributes.values()) <= held + len(self._parked)

    def stop(self) -> None:
        """Stop receiving, end what is being acknowledged, release all else; within a long poll.

        A poll under way cannot be called back: what it still brings, perhaps the very messages that
        were just released, is released when it returns. Of several threads that call this, each
        returns when all is done.
        """
        self._stopping.set()
        self._under_load.set()
        with self._ending:
            with self._changed:
                self._changed.notify_all()
            self._acknowledger.shutdown(wait=True)
            with self._changed:
                held = [delivery for delivery, _ in self._held.values()]
                self._ready.clear()
            if held:
                log.info("releasing %d messages", len(held))
                self.release(held)
            for thread in self._threads:
                thread.join(LONG_POLL_SECONDS + 5)
            self._pool.shutdown(wait=True)
            self._client.close()

    def _receive(self, number: int) -> None:
        while not self._stopping.is_set():
            if number and not self._under_load.wait(timeout=1.0):
                continue
            if self._stopping.is_set():  # stop() ends that wait
                return
            with self._changed:
                full = sum(delivery.files for delivery in self._ready) >= self.capacity
                if full:
                    self._changed.wait(1.0)
                    continue
            try:
                self._accept(self._poll())
            except Exception as error:  # any: without receivers the queue would only seem empty
                self._fail_or_pause(error)

    def _poll(self) -> list[dict[str, Any]]:
        wait = LONG_POLL_SECONDS if self._empty_polls else LOADED_POLL_SECONDS
        messages = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=wait,
            VisibilityTimeout=self._visibility,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        ).get("Messages", [])
        if len(messages) == BATCH:
            self._under_load.set()
        elif not messages and not self._stopping.is_set():
            self._under_load.clear()
        return messages

    def _accept(self, messages: list[dict[str, Any]]) -> None:
        deliveries: list[Delivery] = []
        for message in messages:
            try:
                events = parse(message["Body"])
            except MalformedMessage as error:
                self._return_malformed(_delivery(message, ()), error)
                continue
            delivery = _delivery(message, events)
            if events:
                deliveries.append(delivery)
            else:
                log.info("message %s announces no photo; acknowledged", delivery.message_id)
                self._delete([delivery])
        with self._changed:
            self._empty_polls = 0 if messages else self._empty_polls + 1
            late = self._stopping.is_set()
            if not late:
                now = time.monotonic()
                self._held.update({each.receipt_handle: (each, now) for each in deliveries})
                self._ready.extend(deliveries)
            self._changed.notify_all()
        if late and deliveries:
            self.release(deliveries)

    def _return_malformed(self, delivery: Delivery, error: MalformedMessage) -> None:
        delay, count = 0, delivery.receive_count
        log.error(
            "malformed message %s (receive %d) is left for the dead-letter queue: %s",
            *(delivery.message_id, count, error),
        )
        if count > PROMPT_RETRIES:
            delay = LATE_RETRY_SECONDS
            self._parked.add(delivery.message_id)
        self._hide([delivery], delay)

    def _renew(self) -> None:
        while not self._stopping.wait(self._visibility / 8):
            with self._renewing:
                now = time.monotonic()
                due = self._due(now)
                failed = set(self._hide(due, self._visibility))  # due again in an eighth
                with self._changed:
                    for each in due:
                        if each.receipt_handle in self._held and each not in failed:
                            self._held[each.receipt_handle] = (each, now)

    def _due(self, now: float) -> list[Delivery]:
        oldest = now + self._visibility - MAX_HOLD_SECONDS  # SQS refuses to renew beyond its limit
        with self._changed:
            held = list(self._held.values())
        if expired := [each for each, _ in held if each.received_at < oldest]:
            log.warning("SQS hides no message for more than 12 h: %d are let go", len(expired))
            self._forget(expired)
        return [
            each
            for each, renewed in held
            if now - renewed > self._visibility * 3 / 8 and each.received_at >= oldest
        ]

    def _fail_or_pause(self, error: Exception) -> None:
        if not self._failed(error):
            name = type(error).__name__
            log.warning("cannot receive from %s, trying again: %s: %s", self._url, name, error)
            self._stopping.wait(OUTAGE_PAUSE_SECONDS)

    def _failed(self, error: Exception) -> bool:
        """Whether no retry can help; then the consumer's next call raises QueueError."""
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code not in FATAL:
            return False
        with self._changed:
            self._fault = QueueError(f"queue {self._url}: {FATAL[code]}")
            self._changed.notify_all()
        self._stopping.set()
        return True

    def _hide(self, deliveries: Sequence[Delivery], seconds: int) -> list[Delivery]:
        call = self._client.change_message_visibility_batch
        return self._settle(call, deliveries, VisibilityTimeout=seconds)

    def _delete(self, deliveries: Sequence[Delivery]) -> None:
        failed = self._settle(self._client.delete_message_batch, deliveries)
        self._forget(deliveries)
        if failed:
            log.warning("%d messages could not be deleted and will come back", len(failed))

    def _settle(self, call: Any, deliveries: Sequence[Delivery], **more: int) -> list[Delivery]:
        """Make the call for all, ten at a time; those for which it failed."""

        def settle(ten: Sequence[Delivery]) -> list[Delivery]:
            entries = [
                {"Id": str(n), "ReceiptHandle": each.receipt_handle, **more}
                for n, each in enumerate(ten)
            ]
            try:
                failed = call(QueueUrl=self._url, Entries=entries).get("Failed", [])
            except Exception as error:  # any: without renewals all that is held would come back
                self._failed(error)
                log.warning("cannot delete or change the visibility of messages: %s", error)
                return list(ten)
            # An invalid handle means that the message is no longer ours: another receipt replaced it.
            self._forget(ten[int(each["Id"])] for each in failed if each.get("SenderFault"))
            return [ten[int(each["Id"])] for each in failed]

        tens = [deliveries[at : at + BATCH] for at in range(0, len(deliveries), BATCH)]
        run = self._pool.map if len(tens) > 1 else map
        return [each for failed in run(settle, tens) for each in failed]

    def _forget(self, deliveries: Iterable[Delivery]) -> None:
        with self._changed:
            for delivery in deliveries:
                self._held.pop(delivery.receipt_handle, None)


def _delivery(message: dict[str, Any], events: tuple[ObjectEvent, ...]) -> Delivery:
    told = message.get("Attributes", {})  # not every implementation of SQS tells all of them
    return Delivery(
        message["MessageId"],
        message["ReceiptHandle"],
        int(told.get("ApproximateReceiveCount", 1)),
        int(told.get("SentTimestamp", time.time() * 1000)),
        events,
    )
