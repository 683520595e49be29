"""Redrive: dead letters, shown by cause, and moved back to the queue that they came from.

SQS can do it by itself (StartMessageMoveTask), but moves all of them, unseen: malformed and foreign ones
would be dead letters again within a second. So each is received, judged, sent, and deleted after that.
Killed at any instant, a redrive loses none: what was sent and not yet deleted is in both queues, and an
event that is handled twice changes nothing. What it held is visible again after the visibility timeout.
"""

import sys
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self, TypedDict

from common import aws_errors
from ingest.dead_letters import Cause, IsOurs, Letter, received
from ingest.holding import Holding
from ingest.queue import Queue, requests_of
from processor.errors import PreflightError

MOST_MESSAGES = 10_000  # in hand at a time,
MOST_BYTES = 64 << 20  # and what their bodies may take
PROGRESS_MESSAGES = 1000

_REASONS = {
    Cause.VALID: "it was received too often, or was foreign to earlier settings",
    Cause.NO_EVENTS: "it has no object events, like the test event of S3",
}
_MOVING = {
    Cause.VALID: "the service processes it",
    Cause.FOREIGN: "the service moves it here again, unless storage.bucket or photos_prefix change",
    Cause.MALFORMED: "the service moves it here again",
    Cause.NO_EVENTS: "the service deletes it",
}


class Group(TypedDict):
    """The dead letters of one cause; the other fields but ``moving`` are those of one of them."""

    count: int
    object: str | None
    message_id: str
    reason: str
    moving: str  # what comes of it


class Shown(TypedDict):
    """What is in the dead-letter queue; ``causes`` has those with dead letters only."""

    read: int
    in_flight: int  # held by somebody else, and therefore not read
    more: int  # about how many are left unread, because too many are in hand
    causes: dict[str, Group]


class Left(TypedDict):
    """A dead letter that was not moved, and what is known of it."""

    cause: str
    message_id: str
    object: str | None
    reason: str


class Moved(TypedDict):
    """``fault``: what ended it before all that was asked for was moved."""

    moved: int
    left: list[Left]
    fault: str | None


class Redrive:
    """The dead letters in hand; a context manager, at whose end those not moved are visible again."""

    def __init__(
        self,
        queue: Queue,
        dead: Queue,
        is_ours: IsOurs,
        *,
        visibility_timeout_seconds: int,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        """From ``dead`` to ``queue``; ``say`` gets a line of progress now and then. Makes no request."""
        self._queue = queue
        self._dead = dead
        self._is_ours = is_ours
        self._visibility = visibility_timeout_seconds
        self._say = say
        self._in_hand: dict[str, Letter] = {}  # by message id: one may be received twice
        self._holding = Holding(dead, visibility_timeout_seconds, failed=lambda error: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holding.release([each.delivery for each in self._in_hand.values()], 0)
        self._holding.close()

    def read(self) -> Shown:
        """Receive all dead letters, as far as memory allows; once.

        Raises :class:`PreflightError` where the queue cannot be read.
        """
        try:
            in_flight = self._dead.depth().in_flight
            more = 0 if self._receive() else self._dead.depth().visible
        except aws_errors.ERRORS as error:
            raise PreflightError(aws_errors.explain(error, f"queue {self._dead.url}")) from error
        groups = {cause.value: self._group(cause) for cause in Cause}
        causes = {name: group for name, group in groups.items() if group}
        return {"read": len(self._in_hand), "in_flight": in_flight, "more": more, "causes": causes}

    def move(self, causes: Collection[Cause]) -> Moved:
        """Move the dead letters of these causes, until something hinders it.

        What was sent and could not be deleted here counts as not moved.
        """
        wanted = [each for each in self._in_hand.values() if each.cause in causes]
        fault = None
        moved = 0
        for some in requests_of(wanted, lambda letter: letter.body):
            if fault := self._move(some):
                break
            moved += len(some)
            if moved % PROGRESS_MESSAGES < len(some):
                self._say(f"moved {moved} of {len(wanted)}")
        return {"moved": moved, "left": list(map(_left, self._in_hand.values())), "fault": fault}

    def _receive(self) -> bool:
        """Whether all were received. What is received again counts, or it might never end."""
        count = size = 0
        for letters in received(
            self._dead, self._is_ours, visibility_timeout_seconds=self._visibility
        ):
            self._holding.add(each.delivery for each in letters)
            self._in_hand.update({each.delivery.message_id: each for each in letters})
            count += len(letters)
            size += sum(sys.getsizeof(each.body) for each in letters)
            if count % PROGRESS_MESSAGES < len(letters):
                self._say(f"read {count} dead letters")
            if count >= MOST_MESSAGES or size >= MOST_BYTES:
                return False
        return True

    def _move(self, letters: Sequence[Letter]) -> str | None:
        """Move some, of one request; what hindered it."""
        try:
            self._queue.send_all([each.body for each in letters])
        except aws_errors.ERRORS as error:
            return aws_errors.explain(error, f"queue {self._queue.url}")
        except RuntimeError as error:
            return str(error)
        failed = self._holding.delete([each.delivery for each in letters])
        for letter in letters:
            if letter.delivery not in failed:
                del self._in_hand[letter.delivery.message_id]
        if failed:
            return f"{len(failed)} were sent, but cannot be deleted from {self._dead.url}"
        return None

    def _group(self, cause: Cause) -> Group | None:
        letters = [each for each in self._in_hand.values() if each.cause is cause]
        if not letters:
            return None
        left = _left(letters[0])
        return {
            "count": len(letters),
            "object": left["object"],
            "message_id": left["message_id"],
            "reason": left["reason"],
            "moving": _MOVING[cause],
        }


def unfinished(shown: Shown, moved: Moved) -> str | None:
    """Why perhaps not all that was asked for is moved, and what to do; None if it is."""
    if moved["fault"]:
        return f"{moved['moved']} were moved, then: {moved['fault']}"
    if shown["more"]:
        return (
            f"about {shown['more']} more are left, too many for one redrive: run it again, with --cause "
            "all if those that stay are in the way"
        )
    if shown["in_flight"]:
        return (
            f"{shown['in_flight']} are in flight, held by another redrive, or by one that was killed: "
            "run it again in a minute"
        )
    return None


def _left(letter: Letter) -> Left:
    return {
        "cause": letter.cause.value,
        "message_id": letter.delivery.message_id,
        "object": letter.place,
        "reason": letter.reason or _REASONS[letter.cause],
    }
