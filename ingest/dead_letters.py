"""The dead letters of a queue: malformed messages are moved there, and valid ones must not get there.

SQS moves a message to the dead-letter queue when it was received ``maxReceiveCount`` times, at the next
receive, and tells nobody. Every stop and every crash of a consumer costs the messages that it holds a
receive, so that limit should be large, and malformed messages do not wait for it.

SQS does not say why a message is a dead letter; its body does, see :class:`Letter`.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from common import aws_errors
from ingest.events import ForeignMessage, MalformedMessage, ObjectEvent, parse
from ingest.queue import Delivery, Queue

if TYPE_CHECKING:
    from types_boto3_sqs.type_defs import MessageTypeDef

log = logging.getLogger(__name__)

READ_WAIT_SECONDS = 1  # any long poll asks all of SQS' servers; a short one may miss messages

IsOurs = Callable[[ObjectEvent], bool]


class DeadLetters:
    """The dead-letter queue behind ``queue``, if it has one that may be used. Thread-safe."""

    def __init__(self, queue: Queue) -> None:
        """Make no request; see :meth:`find`."""
        self._queue = queue
        self._target: Queue | None = None
        self._found = False
        self._before = self._moved = 0
        self._counting = threading.Lock()

    def find(self) -> None:
        """Look the dead-letter queue up, unless that was done; call it before anything is received.

        Without a redrive policy there is none. One that may not be used is as good as none, and a
        log line says so. Raises botocore's errors if ``queue`` cannot be asked.
        """
        if self._found:
            return
        arn = self._queue.dead_letter_arn()
        try:
            if arn:
                self._target = self._queue.beside(arn)
                self._before = self._target.depth().total
        except aws_errors.ERRORS as error:
            if aws_errors.is_transient(error):
                raise
            self._target = None
            reason = aws_errors.explain(error, arn, hint="")
            log.warning("malformed messages wait until SQS moves them itself: %s", reason)
        self._found = True

    def add(self, body: str) -> str | None:
        """Send a message there; its id, or None if it could not be sent. It is not deleted here."""
        if self._target is None:
            return None
        try:
            sent = self._target.send(body)
        except aws_errors.ERRORS as error:
            reason = aws_errors.explain(error, "the dead-letter queue", hint="")
            log.warning("a malformed message cannot be moved: %s", reason)
            return None
        with self._counting:
            self._moved += 1
        return sent

    def unseen(self) -> int:
        """How many messages SQS has moved there since :meth:`find`, as far as its counts tell.

        What other consumers move there counts too. Raises botocore's errors.
        """
        if self._target is None:
            return 0
        with self._counting:
            moved = self._moved
        return max(0, self._target.depth().total - self._before - moved)


def expect_ours(events: Sequence[ObjectEvent], is_ours: IsOurs) -> None:
    """Raise ForeignMessage if there are events, and all are foreign."""
    if events and not any(map(is_ours, events)):
        place = f"s3://{events[0].bucket}/{events[0].key}"
        raise ForeignMessage(f"{place!r} is not one of the objects that are processed here")


class Cause(StrEnum):
    """Why a message is a dead letter, as far as its body tells."""

    VALID = (
        "valid"  # it can be processed: it was received too often, or was foreign to other settings
    )
    FOREIGN = "foreign"
    MALFORMED = "malformed"
    NO_EVENTS = "no-events"  # S3's test event, say


@dataclass(frozen=True, slots=True)
class Letter:
    """One receipt of one dead letter; its delivery names no events."""

    delivery: Delivery
    body: str
    cause: Cause
    reason: str  # printable; empty if there is nothing wrong with it
    place: str | None  # of its first event: s3://bucket/key, as it is

    @classmethod
    def of(cls, message: "MessageTypeDef", is_ours: IsOurs) -> "Letter":
        """From what ReceiveMessage returned."""
        body = message["Body"]
        events: tuple[ObjectEvent, ...] = ()
        reason = ""
        try:
            events = parse(body)
            expect_ours(events, is_ours)
            cause = Cause.VALID if events else Cause.NO_EVENTS
        except MalformedMessage as error:
            cause = Cause.FOREIGN if isinstance(error, ForeignMessage) else Cause.MALFORMED
            reason = str(error)
        place = f"s3://{events[0].bucket}/{events[0].key}" if events else None
        return cls(Delivery.of(message, ()), body, cause, reason, place)

    def concerns(self, key: str) -> bool:
        """Whether it has an event about ``key``; if it is malformed, whether its text names the key."""
        if self.cause is not Cause.MALFORMED:
            return any(event.key == key for event in parse(self.body))
        encoded = {quote(key, safe=safe, errors="replace") for safe in ("/", "")}
        encoded |= {quote_plus(key, safe=safe, errors="replace") for safe in ("/", "")}
        text = self.body.replace("\\", "")  # SNS' envelope has more of them
        spelt = {key, json.dumps(key)[1:-1].replace("\\", ""), *encoded}
        return any(f'"{each}"' in text for each in spelt)


def received(
    queue: Queue, is_ours: IsOurs, *, visibility_timeout_seconds: int
) -> Iterator[list[Letter]]:
    """Receive the dead letters in ``queue``, a request at a time, until there are no others.

    Each is invisible to others for ``visibility_timeout_seconds``; one that becomes visible before the
    end is received again. Raises botocore's errors.
    """
    while messages := queue.receive(
        wait_seconds=READ_WAIT_SECONDS, visibility_timeout_seconds=visibility_timeout_seconds
    ):
        yield [Letter.of(message, is_ours) for message in messages]
