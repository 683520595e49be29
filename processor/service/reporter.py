"""The reporter: the thread that has the report written after each refit; no failure of it matters."""

import logging
import threading

from processor.report.report import Report
from processor.store.patience import patiently

log = logging.getLogger(__name__)

LOOK_SECONDS = 3600.0  # between two looks: another service may have refitted
AGAIN_SECONDS = 60.0  # after a failure, or while another writes it; longer than a dead one's lease


class Reporter:
    """Keeps the report of one store up to date, beside everything else.

    Several services may do it at once, and it may be killed at any point: the next look does the rest.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._stopping = threading.Event()
        self._refitted = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="report", daemon=True)

    def start(self) -> None:
        """Write the report in a thread, now if need be, and after each :meth:`refitted`."""
        self._thread.start()

    def refitted(self) -> None:
        """The matrix has another model. May be called from any thread."""
        self._refitted.set()

    def stop(self) -> None:
        """Start no further report; returns at once. The next service does what is left."""
        self._stopping.set()
        self._refitted.set()

    def now(self) -> None:
        """Write the report if it is not of the matrix's model; another service's end is waited for.

        Raises what goes wrong.
        """
        patiently(lambda: self._report.update(wait=True))

    def _keep(self) -> None:
        pause = AGAIN_SECONDS
        while not self._stopping.is_set():
            self._refitted.clear()
            done = False
            try:
                done = patiently(self._report.update, self._stopping)
            except Exception:
                if not self._stopping.is_set():
                    log.exception("the report could not be written")
            if not self._stopping.is_set():  # stop() may have come before the clear()
                self._refitted.wait(LOOK_SECONDS if done else pause)
            pause = AGAIN_SECONDS if done else min(2 * pause, LOOK_SECONDS)
