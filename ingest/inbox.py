"""The inbox: receives SQS messages ahead of its consumer, who acknowledges or releases them.

Delivery guarantee: at least once. A message with events is deleted only by :meth:`Inbox.acknowledge`.
One that is neither acknowledged nor released (the process was killed) becomes visible again after the
visibility timeout, see :mod:`ingest.holding`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from common import aws_errors
from common.log_context import bound
from ingest.dead_letters import DeadLetters, expect_ours
from ingest.events import ForeignMessage, MalformedMessage, ObjectEvent, parse
from ingest.holding import SETTLERS, Holding, delay_of
from ingest.queue import BATCH, LONG_POLL_SECONDS, Delivery, Queue, QueueError, connect, unusable

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import MessageTypeDef

log = logging.getLogger(__name__)

LINGER_SECONDS = 0.5  # for a micro-batch to fill under load; each costs time, whatever its size
LOADED_POLL_SECONDS = 1  # short, so that a receiver is idle again soon after the queue ran dry
OUTAGE_PAUSE_SECONDS = 5.0
SPARE_CONNECTIONS = SETTLERS + 2  # beside those of the receivers


class Inbox:
    """Receives ahead of the consumer, up to ``capacity`` object events, and renews what it holds.

    The consumer may change ``capacity`` at any time. Polls under way count as full, so it is exceeded
    only where a message carries several events.

    ``receivers`` threads share the work under load; idle, a single long poll is open. What they receive
    is held, and renewed, until it is acknowledged or released. All methods may be called from several
    threads.

    A message without object events in it (S3's test event) is deleted on receipt. A malformed one is
    logged and moved to the dead-letter queue. So is one whose events are all foreign, that is, not
    ``is_ours``: it is for somebody else, or whoever says what is ours is mistaken. Where only some are,
    which S3 never sends, the consumer gets all of them. If a message cannot be moved, it is made visible
    again, at first at once and then every 15 minutes, until the queue's redrive policy moves it there.

    Receives are scarce, because after so many SQS makes any message a dead letter. SQS never takes one
    back, not even for a message that is released, so a stop costs each message held one receive, and
    after the first ten it is released with a delay of 15 minutes.

    Errors: where the queue cannot be used as configured, whichever thread notices,
    :meth:`take` and :meth:`drained` raise :class:`~ingest.queue.QueueError` from then on. Everything
    else that AWS answers, and that nobody answers, is waited out with a log line.
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
        self._dead_letters = DeadLetters(self._queue)
        self.capacity = capacity
        self._is_ours = is_ours
        self._visibility = visibility_timeout_seconds
        self._changed = threading.Condition()
        self._ending = threading.Lock()
        self._ready: deque[Delivery] = deque()
        self._coming = 0  # messages that polls under way may bring
        self._fault: QueueError | None = None
        self._stopping = threading.Event()
        self._under_load = threading.Event()
        self._empty_polls = 0
        self._parked: set[str] = set()  # malformed messages that are hidden for a long time
        self._holding = Holding(self._queue, visibility_timeout_seconds, self._failed)
        self._receivers = [
            threading.Thread(target=self._receive, args=(n,), name=f"sqs-receive-{n}", daemon=True)
            for n in range(receivers)
        ]
        for thread in self._receivers:
            thread.start()

    # ------------------------------------------------------------------ for the consumer

    def take(
        self,
        *,
        max_events: int | None,
        max_bytes: int | None,
        wait_seconds: float,
        fill_seconds: float = 0.0,
    ) -> list[Delivery]:
        """Next deliveries within both limits, but at least one, in the order of their arrival.

        Waits up to ``wait_seconds`` for the first, and for as many as fit until ``fill_seconds`` are
        over, whichever of the two ends sooner; returns an empty list when none came, or when fewer did
        and ``fill_seconds`` are not over. Under load it waits half a second longer, for ``max_events``
        to gather. A delivery is returned once; it is held until it is acknowledged or released. Raises
        :class:`~ingest.queue.QueueError`.
        """
        began = time.monotonic()

        def is_full() -> bool:
            return self._is_full(max_events, max_bytes)

        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._fault, wait_seconds)
            left = began + min(wait_seconds, fill_seconds) - time.monotonic()
            if not self._changed.wait_for(is_full, left) and wait_seconds < fill_seconds:
                return []
            self._changed.wait_for(
                lambda: not self._under_load.is_set() or is_full(), LINGER_SECONDS
            )
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
        """Delete the messages, in another thread.

        Returns at once; may be repeated. What is not deleted, because the inbox stops or SQS fails, is
        redelivered, and the consumer has to recognise it as already processed.
        """
        self._holding.delete_later(deliveries)

    def release(self, deliveries: Sequence[Delivery], delay_seconds: int = 0) -> None:
        """Make the messages visible again after ``delay_seconds``, at most 43,200.

        Where SQS fails they become visible when their timeout ends.
        """
        self._holding.release(deliveries, delay_seconds)

    def drained(self) -> bool:
        """True when nothing is ready here, a whole poll found nothing, and the queue reports nothing.

        Messages that another consumer holds count as present, because they may come back. Malformed
        ones that are hidden for a long time do not. Raises :class:`~ingest.queue.QueueError`, also if
        SQS has made messages dead letters instead of handing them out.
        """
        with self._changed:
            if self._fault:
                raise self._fault
            if self._ready or self._empty_polls == 0:
                return False
            held = len(self._holding)
        try:
            if self._queue.depth().total > held + len(self._parked):
                return False
            lost = self._dead_letters.unseen()
        except aws_errors.ERRORS as error:
            self._fail_or_pause(error)
            return False
        if lost:
            raise QueueError(
                f"queue {self._queue.url}: {lost} messages became dead letters while it was drained, "
                "because they had been received too often: raise maxReceiveCount of its redrive policy "
                "and move them back"
            )
        return True

    def stop(self) -> None:
        """Stop receiving, finish acknowledging, release everything else; within a long poll.

        A poll under way cannot be called back, and what is released meanwhile it would take again, so
        it is waited for first: a second if anything is held. Of several threads that call this, each
        returns when all is done.
        """
        self._stopping.set()
        self._under_load.set()
        with self._ending:
            with self._changed:
                self._changed.notify_all()
            deadline = time.monotonic() + LONG_POLL_SECONDS + 5
            for thread in self._receivers:
                thread.join(max(0.0, deadline - time.monotonic()))
            with self._changed:
                self._ready.clear()
            self._holding.close()
            self._queue.client.close()

    def _is_full(self, max_events: int | None, max_bytes: int | None) -> bool:
        """Whether no more than is ready will fit, or come."""
        if self._fault or self._stopping.is_set():
            return True
        wanted = self.capacity if max_events is None else min(self.capacity, max_events)
        if self._events_ready() >= wanted:
            return True
        return max_bytes is not None and sum(each.bytes for each in self._ready) >= max_bytes

    def _events_ready(self) -> int:
        return sum(len(delivery.events) for delivery in self._ready)

    # ------------------------------------------------------------------ receiving

    def _receive(self, number: int) -> None:
        while not self._stopping.is_set():
            if number and not self._under_load.wait(timeout=1.0):
                continue
            if self._stopping.is_set():  # stop() ends that wait
                return
            if not (room := self._reserve()):
                continue
            try:
                if number == 0:  # the first to poll, and at rest the only one
                    self._dead_letters.find()
                self._accept(self._poll(room))
            except Exception as error:  # any: without receivers the queue would only seem empty
                self._fail_or_pause(error)
            finally:
                with self._changed:
                    self._coming -= room
                    self._changed.notify_all()

    def _reserve(self) -> int:
        """Room for as many messages as one poll may bring; after a second 0 if there is none."""
        with self._changed:
            room = min(BATCH, self.capacity - self._events_ready() - self._coming)
            if room <= 0:
                self._changed.wait(1.0)
                return 0
            self._coming += room
            return room

    def _poll(self, at_most: int) -> "list[MessageTypeDef]":
        # A long poll only if there is nothing that stop() would have to release after it.
        idle = self._empty_polls and not len(self._holding)
        messages = self._queue.receive(
            at_most,
            wait_seconds=LONG_POLL_SECONDS if idle else LOADED_POLL_SECONDS,
            visibility_timeout_seconds=self._visibility,
        )
        if len(messages) == at_most:
            self._under_load.set()
        elif not messages and not self._stopping.is_set():
            self._under_load.clear()
        return messages

    def _accept(self, messages: "list[MessageTypeDef]") -> None:
        deliveries: list[Delivery] = []
        for message in messages:
            with bound(message_id=message["MessageId"]):
                deliveries += self._sorted_out(message)
        with self._changed:  # as one: what is held but not ready looks drained
            self._empty_polls = 0 if messages else self._empty_polls + 1
            self._holding.add(deliveries)
            self._ready.extend(deliveries)
            self._changed.notify_all()

    def _sorted_out(self, message: "MessageTypeDef") -> list[Delivery]:
        """The delivery of the message; none if it has no object events for the consumer."""
        try:
            events = self._parse(message["Body"])
        except MalformedMessage as error:
            self._dismiss(Delivery.of(message, ()), message["Body"], error)
            return []
        delivery = Delivery.of(message, events)
        if events:
            return [delivery]
        log.info("a message has no object events; deleted")
        self._holding.delete([delivery])
        return []

    def _parse(self, body: str) -> tuple[ObjectEvent, ...]:
        events = parse(body)
        expect_ours(events, self._is_ours)
        return events

    def _dismiss(self, delivery: Delivery, body: str, error: MalformedMessage) -> None:
        """Move a message to the dead-letter queue; sent before it is deleted, so it is not lost."""
        kind = "foreign" if isinstance(error, ForeignMessage) else "malformed"
        if moved := self._dead_letters.add(body):
            log.error(
                "%s message was moved to the dead-letter queue, as %s: %s", kind, moved, error
            )
            self._holding.delete([delivery])
            return
        delay = delay_of(delivery)
        log.error(
            "%s message (receive %d) is left for the dead-letter queue: %s",
            *(kind, delivery.receive_count, error),
        )
        if delay:
            self._parked.add(delivery.message_id)
        self._holding.release([delivery], delay)

    # ------------------------------------------------------------------ errors

    def _fail_or_pause(self, error: Exception) -> None:
        if not self._failed(error):
            name = type(error).__name__
            log.warning(
                "cannot receive from %s, trying again: %s: %s",
                *(self._queue.url, name, aws_errors.explain(error)),
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
