"""The watchdog: ends the service when it makes no progress, with the stacks of all threads in the log.

Progress is a micro-batch that begins or ends, and a plan of the next one: an idle query plans once a
second. Where the process hangs (a deadlock, a connection on which no answer comes, a stopped process)
there is none, and nothing but a new start helps; the messages it holds would be renewed for ever.

Under systemd it also says when the service is ready, and proves every second that it is alive
(``Type=notify`` and ``WatchdogSec=``, see sd_notify(3)).
"""

import faulthandler
import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from common import logs
from processor.spark import processes

log = logging.getLogger(__name__)

FIRST_SECONDS = 60.0  # granted beyond the limit for the first plan: Spark's processes start
CHECK_SECONDS = 1.0
TELL_SECONDS = 1.0  # for systemd to take what it is told
STACKS_SECONDS = 5.0  # for processes to write their stacks, through Spark's JVM
# What is granted to this thread itself, before one that needs no lock of Python's ends the process.
SPARE_SECONDS = 60.0


class Watchdog:
    """Calls ``give_up`` with the fault if nothing calls :meth:`progress` for ``limit_seconds``.

    ``give_up`` should not return. A process in which not even this thread can run is ended by
    faulthandler's own, SPARE_SECONDS later, with its stacks on the screen.
    """

    def __init__(self, limit_seconds: float, give_up: Callable[[str], object]) -> None:
        self._limit = limit_seconds
        self._give_up = give_up
        self._left = limit_seconds
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch; the service is ready."""
        self.progress(FIRST_SECONDS)
        self._thread.start()
        _tell_systemd("READY=1")

    def progress(self, wait_seconds: float = 0.0) -> None:
        """The service is healthy; a deliberate wait may follow, of so many seconds. From any thread."""
        with self._lock:
            self._left = self._limit + wait_seconds

    def stopping(self, within_seconds: float) -> None:
        """The service stops, and does it within the limit and so many seconds more."""
        self.progress(within_seconds)
        _tell_systemd("STOPPING=1")

    def stop(self) -> None:
        """Watch no longer. May be called without :meth:`start`."""
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()

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
            _tell_systemd("WATCHDOG=1")

    def _bite(self) -> None:
        _tell_systemd("STOPPING=1")  # it takes longer than until systemd would miss a sign of life
        log.error("no progress for %d s; the stacks of all threads follow", self._limit)
        log.error("the stacks of this process: %s", _stacks())
        processes.show_stacks()
        time.sleep(STACKS_SECONDS)
        self._give_up(
            f"no progress for {self._limit:.0f} s, see the stacks in the log; start the service again: "
            "it continues where it stopped"
        )


def _stacks() -> str:
    """The stacks of all threads. Not by a pipe: whoever reads it may need the lock that we hold."""
    with os.fdopen(os.memfd_create("stacks"), "w+", encoding="utf-8", errors="replace") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


def _tell_systemd(state: str) -> None:
    """Send the state if systemd, or whoever started us, wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(TELL_SECONDS)
                sender.sendto(state.encode(), address.replace("@", "\0", 1))
        except OSError as error:
            log.debug("systemd was not told %s: %s", state, error)
