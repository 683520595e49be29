"""The reconciler: the thread that compares bucket and store once a day, and enqueues what differs."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from common import aws_errors
from processor.pipeline.comparison import Scope
from processor.pipeline.reconciliation import Pass, Reconciliation

log = logging.getLogger(__name__)

CHECK_SECONDS = 60.0  # between looks whether a reconciliation is due
RETRY_SECONDS = 600.0


class Reconciler:
    """Reconciles one store with its bucket every ``interval_seconds``; 0: never.

    No failure here stops ingestion. What has changed within a 24th of the interval (an hour of a day) is
    left to its events, which are on their way.
    """

    def __init__(
        self,
        reconciliation: Reconciliation,
        photos_prefix: str,
        interval_seconds: int,
        found: Callable[[int], object] = lambda _: None,
        ended: Callable[[datetime | None], object] = lambda _: None,
    ) -> None:
        """``found`` is called with the number of differences of each pass that this service ends.

        ``ended`` is called after each look with the time at which the last one ended, whoever made it;
        None if that is unknown. Neither may raise.
        """
        self._reconciliation = reconciliation
        self._prefix = photos_prefix
        self._interval = timedelta(seconds=interval_seconds)
        self._found = found
        self._ended = ended
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._reconcile, name="reconciler", daemon=True)

    def start(self) -> None:
        """Reconcile in a thread until :meth:`stop`."""
        if self._interval:
            self._thread.start()

    def stop(self) -> None:
        """Start nothing further; returns at once. What has begun is continued by the next service."""
        self._stopping.set()
        self._reconciliation.stop()

    def _reconcile(self) -> None:
        check = wait = min(CHECK_SECONDS, self._interval.total_seconds())
        while not self._stopping.wait(wait):
            wait = check
            try:
                if self._reconciliation.is_due(self._interval):
                    before = datetime.now(UTC) - self._interval / 24
                    scope = Scope(prefix=self._prefix, before=before)
                    done = self._reconciliation.run(scope, resume_for=self._interval)
                    report(done)
                    self._found(done.found)
                self._ended(self._reconciliation.ended)
            except Exception as error:
                wait = RETRY_SECONDS
                if not self._stopping.is_set():
                    log.warning(
                        "bucket and store could not be compared, trying again in %d s: %s",
                        RETRY_SECONDS,
                        aws_errors.explain(error)
                        if isinstance(error, aws_errors.ERRORS)
                        else error,
                    )


def report(done: Pass) -> None:
    """Log what a pass has found: a warning if anything, because events were missed then."""
    level = logging.WARNING if done.found else logging.INFO
    seconds = round((done.at - done.began).total_seconds(), 3)
    figures = {"objects": done.objects, **done.differences, "seconds": seconds}
    log.log(level, "bucket and store were reconciled", extra=figures)
