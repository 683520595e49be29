"""The messages in hand: kept invisible to others until they are deleted or released.

SQS makes a message visible again when its visibility timeout ends; only a living process renews it. So
what a killed one held comes back by itself.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from common import aws_errors
from ingest.queue import BATCH, Delivery, Failure, Queue

log = logging.getLogger(__name__)

MAX_HOLD_SECONDS = 12 * 3600 - 60  # SQS ends a message's invisibility 12 h after its receipt
PROMPT_RECEIVES = 10  # of one message; a queue must not spin on what it cannot get rid of
LATE_RECEIVE_SECONDS = 900  # between later ones; so the 1,000 that SQS allows last for ten days
SETTLERS = 8  # threads that delete or renew when there are more than ten messages


class Holding:
    """The messages in hand. Thread-safe.

    A thread renews each at half the visibility timeout from the moment it is received, until it is
    deleted, released, or has been held for the 12 hours that SQS allows. Deleting and renewing fail
    with a log line, and ``failed`` is called with the error; where it is unknown whether a deletion took
    effect it counts as failed: the message comes back or is gone.
    """

    def __init__(
        self,
        queue: Queue,
        visibility_timeout_seconds: int,
        failed: Callable[[Exception], object],
    ) -> None:
        self._queue = queue
        self._visibility = visibility_timeout_seconds
        self._failed = failed
        self._lock = threading.Lock()
        self._renewing = threading.Lock()  # taken for each round of renewals
        self._held: dict[str, tuple[Delivery, float]] = {}  # by receipt handle: when last renewed
        self._released = threading.Event()  # by close(); until then messages are renewed
        self._pool = ThreadPoolExecutor(SETTLERS, thread_name_prefix="sqs-settle")
        self._deleter = ThreadPoolExecutor(1, thread_name_prefix="sqs-delete")
        self._renewer = threading.Thread(target=self._renew, name="sqs-renew", daemon=True)
        self._renewer.start()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Hold what was just received."""
        with self._lock:
            now = time.monotonic()
            self._held.update({each.receipt_handle: (each, now) for each in deliveries})

    def delete(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Delete the messages; those that were not. A thousand take a third of a second."""
        failed = self._settle(self._queue.delete, deliveries)
        self._forget(deliveries)
        if failed:
            log.warning("%d messages could not be deleted and will come back", len(failed))
        return failed

    def delete_later(self, deliveries: Sequence[Delivery]) -> None:
        """Delete them in another thread, in the order of the calls; nothing after :meth:`close`."""
        with contextlib.suppress(RuntimeError):  # it is shut down
            self._deleter.submit(self.delete, deliveries)

    def release(self, deliveries: Sequence[Delivery], delay_seconds: int) -> None:
        """Make the messages visible again after ``delay_seconds``, at most 43,200.

        They need not be held. Where SQS fails they become visible when their timeout ends.
        """
        with self._renewing:  # a renewal under way could reach SQS later, and undo this
            self._forget(deliveries)
        self._hide(deliveries, delay_seconds)

    def close(self) -> None:
        """Finish deleting and release everything else, what was received often with a delay."""
        self._deleter.shutdown(wait=True)
        with self._lock:
            held = [delivery for delivery, _ in self._held.values()]
        if held:
            log.info("releasing %d messages", len(held))
            for delay in sorted({delay_of(each) for each in held}):
                self.release([each for each in held if delay_of(each) == delay], delay)
        self._released.set()
        self._renewer.join()
        self._pool.shutdown(wait=True)

    def _renew(self) -> None:
        while not self._released.wait(self._visibility / 8):
            with self._renewing:
                now = time.monotonic()
                due = self._due(now)
                failed = set(self._hide(due, self._visibility))  # due again in an eighth
                with self._lock:
                    for each in due:
                        if each.receipt_handle in self._held and each not in failed:
                            self._held[each.receipt_handle] = (each, now)

    def _due(self, now: float) -> list[Delivery]:
        oldest = now + self._visibility - MAX_HOLD_SECONDS  # SQS refuses to renew beyond its limit
        with self._lock:
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
                reason = aws_errors.explain(error)
                log.warning("cannot delete or change the visibility of messages: %s", reason)
                return list(ten)
            self._forget(each.delivery for each in failures if each.lost)
            return [each.delivery for each in failures]

        tens = [deliveries[at : at + BATCH] for at in range(0, len(deliveries), BATCH)]
        run = self._pool.map if len(tens) > 1 else map
        return [each for failed in run(settle, tens) for each in failed]

    def _forget(self, deliveries: Iterable[Delivery]) -> None:
        with self._lock:
            for delivery in deliveries:
                self._held.pop(delivery.receipt_handle, None)


def delay_of(delivery: Delivery) -> int:
    """After how many seconds it may be received again: at once, unless it was received often."""
    return LATE_RECEIVE_SECONDS if delivery.receive_count > PROMPT_RECEIVES else 0
