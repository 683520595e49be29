"""The dead letters of a queue: malformed messages are moved there, and valid ones must not get there.

SQS moves a message to the dead-letter queue when it was received ``maxReceiveCount`` times, at the next
receive, and tells nobody. Every stop and every crash of a consumer costs the messages that it holds a
receive, so that limit should be large, and malformed messages do not wait for it.
"""

import logging
import threading

from common import aws_errors
from ingest.queue import Queue

log = logging.getLogger(__name__)


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
