"""The inbox: receives SQS messages, keeps them invisible while they are worked on, deletes or releases.

Delivery guarantee: at least once. A message with events is deleted only by :meth:`Inbox.acknowledge`.
One that is neither acknowledged nor released (the process was killed) becomes visible again after the
visibility timeout, because only a living process renews it.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from common import aws
from ingest.events import ForeignMessage, MalformedMessage, ObjectEvent, parse
from ingest.queue import (
    BATCH,
    LONG_POLL_SECONDS,
    Delivery,
    Failure,
    Queue,
    QueueError,
    connect,
    unusable,
)

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import MessageTypeDef

log = logging.getLogger(__name__)

LINGER_SECONDS = 0.5  # for a micro-batch to fill under load; each costs time, whatever its size
LOADED_POLL_SECONDS = 1  # short, so that a receiver is idle again soon after the queue ran dry
MAX_HOLD_SECONDS = 12 * 3600 - 60  # SQS ends a message's invisibility 12 h after its receipt
PROMPT_RETRIES = 10  # a queue without a dead-letter queue must not spin on a malformed message
LATE_RETRY_SECONDS = 900
OUTAGE_PAUSE_SECONDS = 5.0
SETTLERS = 8  # threads that delete or renew when there are more than ten messages
SPARE_CONNECTIONS = SETTLERS + 2  # beside those of the receivers


class Inbox:
    """Receives ahead of the consumer, up to ``capacity`` object events, and renews what it holds.

    The consumer may change ``capacity`` at any time; it is exceeded by what polls under way bring.

    ``receivers`` threads share the work under load; idle, a single long poll is open. A further thread
    renews every held message at half the visibility timeout from the moment it is received, until it
    is acknowledged or released. All methods may be called from several threads.

    A message without object events in it (S3's test event) is deleted on receipt. A malformed one is
    logged and made visible again, never deleted: the queue's redrive policy moves it to the
    dead-letter queue. So is one whose events are all foreign, that is, not ``is_ours``: it is for
    somebody else, or whoever says what is ours is mistaken. Where only some are, which S3 never sends,
    the consumer gets all of them.

    Errors: where the queue cannot be used as configured, whichever thread notices,
    :meth:`take` and :meth:`drained` raise :class:`~ingest.queue.QueueError` from then on. Everything
    else that AWS answers, and that nobody answers, is waited out with a log line. Where it is unknown
    whether a deletion took effect it counts as failed: the message comes back or is gone.
    """

    def __init__(
        self,
        queue_url: str,
        *,
        capacity: int,
        visibility_timeout_seconds: int,
        receivers: int,
        is_ours: Callable[[ObjectEvent], bool] = lambda event: True,
        client: "SQSClient | None" = None,
    ) -> None:
        """Start receiving. The inbox closes ``client`` (by default one of its own) when it stops.

        Raises what :func:`~ingest.queue.connect` raises; no request is made here.
        """
        if client is None:
            client = connect(receivers + SPARE_CONNECTIONS)
        self._queue = Queue(client, queue_url)
        self.capacity = capacity
        self._is_ours = is_ours
        self._visibility = visibility_timeout_seconds
        self._changed = threading.Condition()
        self._renewing = threading.Lock()  # taken for each round of renewals
        self._ending = threading.Lock()
        self._ready: deque[Delivery] = deque()
        self._held: dict[str, tuple[Delivery, float]] = {}  # by receipt handle: when last renewed
        self._fault: QueueError | None = None
        self._stopping = threading.Event()
        self._under_load = threading.Event()
        self._empty_polls = 0
        self._parked: set[str] = set()  # malformed messages that are hidden for a long time
        self._pool = ThreadPoolExecutor(SETTLERS, thread_name_prefix="sqs-settle")
        self._acknowledger = ThreadPoolExecutor(1, thread_name_prefix="sqs-acknowledge")
        self._threads = [
            threading.Thread(target=self._receive, args=(n,), name=f"sqs-receive-{n}", daemon=True)
            for n in range(receivers)
        ]
        self._threads.append(threading.Thread(target=self._renew, name="sqs-renew", daemon=True))
        for thread in self._threads:
            thread.start()

    # ------------------------------------------------------------------ for the consumer

    def take(
        self, *, max_events: int | None, max_bytes: int | None, wait_seconds: float
    ) -> list[Delivery]:
        """Next deliveries within both limits, but at least one, in the order of their arrival.

        Waits up to ``wait_seconds`` for the first; returns an empty list when none came. Under load it
        waits half a second longer, for ``max_events`` to gather. A delivery is returned once; it is
        held until it is acknowledged or released. Raises :class:`~ingest.queue.QueueError`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._fault, wait_seconds)
            self._changed.wait_for(lambda: self._is_enough(max_events), LINGER_SECONDS)
            if self._fault:
                raise self._fault
            taken: list[Delivery] = []
            events = size = 0
            while self._ready:
                events += len(self._ready[0].events)
                size += self._ready[0].bytes
                over = (max_events is not None and events > max_events) or (
                    max_bytes is not None and size > max_bytes
                )
                if taken and over:
                    break
                taken.append(self._ready.popleft())
            self._changed.notify_all()
            return taken

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Delete the messages, in another thread: a thousand take a third of a second.

        Returns at once; may be repeated. What is not deleted, because the inbox stops or SQS fails, is
        redelivered, and the consumer has to recognise it as already processed.
        """
        if not self._stopping.is_set():
            self._acknowledger.submit(self._delete, deliveries)

    def release(self, deliveries: Sequence[Delivery], delay_seconds: int = 0) -> None:
        """Make the messages visible again after ``delay_seconds``, at most 43,200.

        Where SQS fails they become visible when their timeout ends.
        """
        with self._renewing:  # a renewal under way could reach SQS later, and undo this
            self._forget(deliveries)
        self._hide(deliveries, delay_seconds)

    def drained(self) -> bool:
        """True when nothing is ready here, a whole poll found nothing, and the queue reports nothing.

        Messages that another consumer holds count as present, because they may come back. Malformed
        ones that are hidden for a long time do not. Raises :class:`~ingest.queue.QueueError`.
        """
        with self._changed:
            if self._fault:
                raise self._fault
            if self._ready or self._empty_polls == 0:
                return False
            held = len(self._held)
        try:
            present = self._queue.depth().total
        except aws.ERRORS as error:
            self._fail_or_pause(error)
            return False
        return present <= held + len(self._parked)

    def stop(self) -> None:
        """Stop receiving, finish acknowledging, release everything else; within a long poll.

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
            self._queue.client.close()

    def _is_enough(self, wanted: int | None) -> bool:
        """Whether there is no reason to wait for more than is ready."""
        if self._fault or self._stopping.is_set() or not self._under_load.is_set():
            return True
        return self._events_ready() >= min(
            self.capacity, wanted if wanted is not None else self.capacity
        )

    def _events_ready(self) -> int:
        return sum(len(delivery.events) for delivery in self._ready)

    # ------------------------------------------------------------------ receiving

    def _receive(self, number: int) -> None:
        while not self._stopping.is_set():
            if number and not self._under_load.wait(timeout=1.0):
                continue
            if self._stopping.is_set():  # stop() ends that wait
                return
            with self._changed:
                if self._events_ready() >= self.capacity:
                    self._changed.wait(1.0)
                    continue
            try:
                self._accept(self._poll())
            except Exception as error:  # any: without receivers the queue would only seem empty
                self._fail_or_pause(error)

    def _poll(self) -> "list[MessageTypeDef]":
        wait = LONG_POLL_SECONDS if self._empty_polls else LOADED_POLL_SECONDS
        messages = self._queue.receive(
            wait_seconds=wait, visibility_timeout_seconds=self._visibility
        )
        if len(messages) == BATCH:
            self._under_load.set()
        elif not messages and not self._stopping.is_set():
            self._under_load.clear()
        return messages

    def _accept(self, messages: "list[MessageTypeDef]") -> None:
        deliveries: list[Delivery] = []
        for message in messages:
            try:
                events = self._parse(message["Body"])
            except MalformedMessage as error:
                self._return_malformed(Delivery.of(message, ()), error)
                continue
            delivery = Delivery.of(message, events)
            if events:
                deliveries.append(delivery)
            else:
                log.info("message %s has no object events; deleted", delivery.message_id)
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

    def _parse(self, body: str) -> tuple[ObjectEvent, ...]:
        events = parse(body)
        if events and not any(map(self._is_ours, events)):
            place = f"s3://{events[0].bucket}/{events[0].key}"
            raise ForeignMessage(f"{place!r} is not one of the objects that are processed here")
        return events

    def _return_malformed(self, delivery: Delivery, error: MalformedMessage) -> None:
        delay, count = 0, delivery.receive_count
        log.error(
            "%s message %s (receive %d) is left for the dead-letter queue: %s",
            "foreign" if isinstance(error, ForeignMessage) else "malformed",
            *(delivery.message_id, count, error),
        )
        if count > PROMPT_RETRIES:
            delay = LATE_RETRY_SECONDS
            self._parked.add(delivery.message_id)
        self._hide([delivery], delay)

    # ------------------------------------------------------------------ holding

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
        visible = now - self._visibility  # again, what was not renewed since
        if expired := [
            each for each, renewed in held if each.received_at < oldest and renewed < visible
        ]:
            log.warning(
                "SQS keeps no message invisible for more than 12 h: %d will be redelivered",
                len(expired),
            )
            self._forget(expired)
        return [
            each
            for each, renewed in held
            if now - renewed > self._visibility * 3 / 8 and each.received_at >= oldest
        ]

    def _hide(self, deliveries: Sequence[Delivery], seconds: int) -> list[Delivery]:
        """Make the messages visible again after ``seconds``; those for which that failed."""
        return self._settle(lambda ten: self._queue.hide(ten, seconds), deliveries)

    def _delete(self, deliveries: Sequence[Delivery]) -> None:
        failed = self._settle(self._queue.delete, deliveries)
        self._forget(deliveries)
        if failed:
            log.warning("%d messages could not be deleted and will come back", len(failed))

    def _settle(
        self,
        call: Callable[[Sequence[Delivery]], list[Failure]],
        deliveries: Sequence[Delivery],
    ) -> list[Delivery]:
        """Make the call for all, ten at a time; those for which it failed."""

        def settle(ten: Sequence[Delivery]) -> list[Delivery]:
            try:
                failures = call(ten)
            except Exception as error:  # any: without renewals all that is held would come back
                self._failed(error)
                log.warning(
                    "cannot delete or change the visibility of messages: %s", aws.explain(error)
                )
                return list(ten)
            self._forget(each.delivery for each in failures if each.lost)
            return [each.delivery for each in failures]

        tens = [deliveries[at : at + BATCH] for at in range(0, len(deliveries), BATCH)]
        run = self._pool.map if len(tens) > 1 else map
        return [each for failed in run(settle, tens) for each in failed]

    def _forget(self, deliveries: Iterable[Delivery]) -> None:
        with self._changed:
            for delivery in deliveries:
                self._held.pop(delivery.receipt_handle, None)

    # ------------------------------------------------------------------ errors

    def _fail_or_pause(self, error: Exception) -> None:
        if not self._failed(error):
            name = type(error).__name__
            log.warning(
                "cannot receive from %s, trying again: %s: %s",
                *(self._queue.url, name, aws.explain(error)),
            )
            self._stopping.wait(OUTAGE_PAUSE_SECONDS)

    def _failed(self, error: Exception) -> bool:
        """Whether no retry can help; then the consumer's next call raises QueueError."""
        fault = unusable(error, self._queue.url)
        if fault is None:
            return False
        with self._changed:
            self._fault = fault
            self._changed.notify_all()
        self._stopping.set()
        return True
