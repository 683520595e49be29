"""A queue of the embedded AWS: moto's protocol and attributes with bookkeeping of our own.

moto keeps a queue's messages in a list, scans it on every send, receive and delete, and changes it
without a lock. With 2,000 messages queued, a send took 30 ms, and receiving and deleting ten took
1.3 s; a message sent during a deletion could be lost, and two receivers could get the same one.
"""

import copy
import heapq
import time
from itertools import count
from typing import Any, cast

from moto.core.utils import unix_time_millis
from moto.sqs import models
from moto.sqs.exceptions import InvalidParameterValue, ReceiptHandleIsInvalid


class FastQueue(models.Queue):
    """A standard queue; every operation is atomic and costs O(log n) of the messages it holds."""

    BASE_ATTRIBUTES = [*models.Queue.BASE_ATTRIBUTES, "RedriveAllowPolicy"]  # noqa: RUF012
    redrive_allow_policy: str | None = None
    message_retention_period: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # whatever moto passes
        self._forget_all()
        self._arrivals = count()
        super().__init__(*args, **kwargs)
        if self.fifo_queue:
            raise InvalidParameterValue("the embedded AWS has no FIFO queues")

    def _forget_all(self) -> None:
        self._live: dict[models.Message, int] = {}  # each with its position in the order of arrival
        self._by_handle: dict[str, models.Message] = {}
        self._asleep: list[tuple[float, int, models.Message]] = []  # a heap: next to wake first
        self._ready: list[tuple[int, models.Message]] = []  # a heap: first to arrive first
        self._hidden: set[models.Message] = set()  # the live ones in `_asleep`

    @property
    def _messages(self) -> list[models.Message]:
        return list(self._live)

    @_messages.setter
    def _messages(self, messages: list[models.Message]) -> None:
        """Empty the queue: moto assigns an empty list, both on creation and to purge it."""
        self._forget_all()

    def _set_attributes(self, attributes: dict[str, Any], now: float | None = None) -> None:
        # moto drops the policy whenever other attributes are set without it.
        kept = {"Policy": self.policy} if hasattr(self, "_policy_json") else {}
        super()._set_attributes({**kept, **attributes}, now)

    def add_message(self, message: models.Message) -> None:
        """Store a message that was sent, or moved here as a dead letter."""
        with self._messages_lock:
            self._live[message] = next(self._arrivals)
            for handle in filter(None, message.all_receipt_handles):
                self._by_handle[handle] = message
            self._sleep(message, message.delayed_until)

    def receive(self, at_most: int, wait_seconds: float, hide_seconds: int) -> list[models.Message]:
        """Up to ``at_most`` messages, each then hidden for ``hide_seconds``.

        Waits up to ``wait_seconds`` for the first; empty if none arrives by then.
        """
        deadline = time.monotonic() + wait_seconds
        with self._messages_lock:
            while True:
                taken = self._take(at_most, hide_seconds)
                left = deadline - time.monotonic()
                if taken or left <= 0:
                    return taken
                if self._asleep:
                    left = min(left, max(0.0, (self._asleep[0][0] - unix_time_millis()) / 1000))
                self._messages_lock.wait(left + 0.001)

    def delete_message(self, receipt_handle: str) -> None:
        """Delete the message; nothing happens if it was deleted before.

        Raises moto's ``ReceiptHandleIsInvalid`` for a handle that was never given out.
        """
        with self._messages_lock:
            message = self._by_handle.get(receipt_handle)
            if message is not None:
                self._forget(message)
                self.deleted_messages.update(filter(None, message.all_receipt_handles))
            elif receipt_handle not in self.deleted_messages:
                raise ReceiptHandleIsInvalid

    def hide(self, receipt_handle: str, seconds: int) -> None:
        """Let the message reappear ``seconds`` from now; 0 releases it.

        Raises moto's ``ReceiptHandleIsInvalid`` if the message does not exist (any more).
        """
        with self._messages_lock:
            message = self._by_handle.get(receipt_handle)
            if message is None:
                raise ReceiptHandleIsInvalid
            message.change_visibility(seconds)
            self._sleep(message, message.visible_at if seconds else 0.0)

    @property
    def approximate_number_of_messages(self) -> int:
        with self._messages_lock:
            self._wake()
            return len(self._live) - len(self._hidden)

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        with self._messages_lock:
            self._wake()
            return sum(message.receipt_handle is not None for message in self._hidden)

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        with self._messages_lock:
            self._wake()
            return sum(message.receipt_handle is None for message in self._hidden)

    def _sleep(self, message: models.Message, until: float) -> None:
        message.visible_at = until
        self._hidden.add(message)
        heapq.heappush(self._asleep, (until, self._live[message], message))
        self._messages_lock.notify_all()

    def _wake(self) -> None:
        now = unix_time_millis()
        while self._asleep and self._asleep[0][0] <= now:
            until, arrival, message = heapq.heappop(self._asleep)
            # An entry is stale if the message was deleted or hidden again since.
            if message in self._hidden and message.visible_at == until:
                self._hidden.discard(message)
                heapq.heappush(self._ready, (arrival, message))

    def _take(self, at_most: int, hide_seconds: int) -> list[models.Message]:
        self._wake()
        taken: list[models.Message] = []
        oldest = unix_time_millis() - 1000 * self.message_retention_period
        while self._ready and len(taken) < at_most:
            _, message = heapq.heappop(self._ready)
            if message not in self._live or message in self._hidden:
                continue
            if (message.sent_timestamp or 0) < oldest:
                self._forget(message)
            elif (dead_letters := self._dead_letters(message)) is not None:
                self._forget(message)
                dead_letters.add_message(message)
            else:
                message.mark_received(hide_seconds)
                self._by_handle[str(message.receipt_handle)] = message
                self._sleep(message, message.visible_at if hide_seconds else 0.0)
                taken.append(message)
        return taken

    def _dead_letters(self, message: models.Message) -> models.Queue | None:
        """The queue to move the message to if it was received too often, else None."""
        if not self.redrive_policy:
            return None
        exhausted = message.approximate_receive_count >= self.redrive_policy["maxReceiveCount"]
        return self.dead_letter_queue if exhausted else None

    def _forget(self, message: models.Message) -> None:
        del self._live[message]
        self._hidden.discard(message)
        for handle in filter(None, message.all_receipt_handles):
            self._by_handle.pop(handle, None)


def _receive_message(
    backend: models.SQSBackend,
    queue_name: str,
    count: int,
    wait_seconds_timeout: int,
    visibility_timeout: int,
    message_attribute_names: list[str] | None = None,
) -> list[models.Message]:
    queue = cast(FastQueue, backend.get_queue(queue_name))
    received = queue.receive(count, wait_seconds_timeout, visibility_timeout)
    copies = [copy.copy(message) for message in received]
    for message in copies:
        models._filter_message_attributes(message, message_attribute_names or [])
    return copies


def _change_message_visibility(
    backend: models.SQSBackend, queue_name: str, receipt_handle: str, visibility_timeout: int
) -> None:
    queue = cast(FastQueue, backend.get_queue(queue_name))
    queue.hide(receipt_handle, int(visibility_timeout))


def install() -> None:
    """Make moto's SQS use these queues; call once, before the first request."""
    moto: Any = models  # untyped, so that its functions can be replaced
    moto.Queue = FastQueue
    moto.SQSBackend.receive_message = _receive_message
    moto.SQSBackend.change_message_visibility = _change_message_visibility
