"""The watchdog: ends the service when it makes no progress, with the stacks of all threads in the log.

Progress is a micro-batch that begins or ends, and a plan of the next one: an idle query plans once a
second. Where the process hangs (a deadlock, a connection on which no answer comes, a stopped process)
there is none, and nothing but a new start helps; the messages it holds would be renewed for ever.

Under systemd it also proves every second that it is alive (``WatchdogSec=``), and says that the service
is ready when the query has planned for the first time: then queue, bucket, Spark and network are there.
"""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable

from common import logs
from processor.service import systemd
from processor.spark import processes

log = logging.getLogger(__name__)

FIRST_SECONDS = 60.0  # granted beyond the limit for the first plan: Spark's processes start
CHECK_SECONDS = 1.0
STACKS_SECONDS = 5.0  # for processes to write their stacks, through Spark's JVM
# What is granted to this thread itself, before one that needs no lock of Python's ends the process.
SPARE_SECONDS = 60.0
# What systemd grants from one sign of life to the next while the service starts.
STARTING_SECONDS = 60.0
ENDING_SECONDS = 60.0  # for processes to end, beyond the limits of stopping

GiveUp = Callable[[str, Callable[[], None]], object]


class Watchdog:
    """Calls ``give_up`` if nothing calls :meth:`progress` for ``limit_seconds``.

    ``give_up`` gets the fault and a function that puts all stacks into the log. It should not return.
    A process in which not even this thread can run is ended by faulthandler's own, SPARE_SECONDS later,
    with its stacks on the screen.
    """

    def __init__(self, limit_seconds: float, give_up: GiveUp) -> None:
        self._limit = limit_seconds
        self._give_up = give_up
        self._left = limit_seconds
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch; the query has been started. Systemd is kept waiting for the first progress."""
        self._grant(FIRST_SECONDS)
        self._thread.start()

    def progress(self) -> None:
        """The service is healthy, and ready if it was not before. From any thread."""
        self._grant(0.0)
        if not self._ready.is_set():
            self._ready.set()
            systemd.tell("READY=1", "STATUS=running")

    def stopping(self, within_seconds: float) -> None:
        """The service stops, and does it within the limit and so many seconds more."""
        self._grant(within_seconds)
        systemd.tell("STOPPING=1", systemd.more_time(within_seconds + ENDING_SECONDS))

    def stop(self) -> None:
        """Watch no longer. May be called without :meth:`start`."""
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()

    def _grant(self, wait_seconds: float) -> None:
        with self._lock:
            self._left = self._limit + wait_seconds

    def _watch(self) -> None:
        checked = time.monotonic()
        while not self._ended.wait(CHECK_SECONDS):
            now = time.monotonic()
            # Of a pause in which this thread did not run either (a suspended machine), little counts.
            with self._lock:
                self._left -= min(now - checked, 2 * CHECK_SECONDS)
                left = self._left
            checked = now
            faulthandler.dump_traceback_later(
                max(0.0, left) + SPARE_SECONDS, exit=True, file=logs.screen()
            )
            if left <= 0:
                self._bite()
                return
            ready = self._ready.is_set()
            systemd.tell("WATCHDOG=1" if ready else systemd.more_time(STARTING_SECONDS))

    def _bite(self) -> None:
        systemd.tell("STOPPING=1")  # it takes longer than until systemd would miss a sign of life
        self._give_up(
            f"no progress for {self._limit:.0f} s, see the stacks in the log; start the service again: "
            "it continues where it stopped",
            self._show_stacks,
        )

    def _show_stacks(self) -> None:
        """A stopped process goes on by this, and what it does then may end the query."""
        log.error("no progress for %d s; the stacks of all threads follow", self._limit)
        log.error("the stacks of this process: %s", _stacks())
        processes.show_stacks()
        time.sleep(STACKS_SECONDS)


def _stacks() -> str:
    """The stacks of all threads. Not by a pipe: whoever reads it may need the lock that we hold."""
    with os.fdopen(os.memfd_create("stacks"), "w+", encoding="utf-8", errors="replace") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()
