"""The reporter: the thread that has the report written after each refit; no failure of it matters."""

import logging
import threading

from processor.report.report import Report
from processor.store.patience import patiently

log = logging.getLogger(__name__)

AGAIN_SECONDS = 3600.0  # after a failure: whatever it was, most of the work was done in vain


class Reporter:
    """Keeps the report of one store up to date, beside everything else.

    Several services may do it at once, and it may be killed at any point: the next one does the rest.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._stopping = threading.Event()
        self._refitted = threading.Event()
        self._refitted.set()  # perhaps by a service that died before its report
        self._thread = threading.Thread(target=self._keep, name="report", daemon=True)

    def start(self) -> None:
        """Write the report in a thread, now if need be and after each :meth:`refitted`."""
        self._thread.start()

    def refitted(self) -> None:
        """The matrix has another model. May be called from any thread."""
        self._refitted.set()

    def stop(self) -> None:
        """Start no further report; returns at once. The next service does what is left."""
        self._stopping.set()
        self._refitted.set()

    def now(self, *, wait: bool = False) -> bool:
        """Write the report if it is not of the matrix's model; whether that went well.

        With ``wait`` the end of another service's is waited for.
        """
        try:
            patiently(lambda: self._report.update(wait=wait), self._stopping)
        except Exception:
            if not self._stopping.is_set():
                log.exception("the report could not be written")
            return False
        return True

    def _keep(self) -> None:
        again = False
        while not self._stopping.is_set():
            self._refitted.wait(AGAIN_SECONDS if again else None)
            self._refitted.clear()
            if not self._stopping.is_set():
                again = not self.now()
