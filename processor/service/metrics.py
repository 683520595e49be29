"""The metrics of a running service: gathered from its parts, emitted as lines of its log.

One document for each round of a micro-batch, each refit and each reconciliation, and one a minute with
what is true now (see :mod:`common.metrics`). Its parts call the methods here, from their threads, with
what they know anyway; nothing is read from AWS for a metric. Counts are of what this service has made
durable: a micro-batch that is repeated finds it done and counts none of it again, and one that dies
between its commit and its line is not counted.
"""

import functools
import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec

from common import metrics
from common.metrics import Metric, Value
from processor.matrix.matrix import MatrixState, Update
from processor.pipeline.durable import Durable
from processor.spark.resources import memory_used

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # whatever logs.level is: the alarms take silence for death

MINUTE_SECONDS = 60.0
MOST_UNMIRRORED = 10_000  # versions of features/ whose time is remembered

P = ParamSpec("P")


def _harmless(
    method: Callable[Concatenate["Metrics", P], None],
) -> Callable[Concatenate["Metrics", P], None]:
    """The method, whose errors are logged: no metric is worth a photo."""

    @functools.wraps(method)
    def call(self: "Metrics", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            log.exception("metrics are missing")

    return call


class Metrics:
    """The metrics of one service. All methods may be called from any thread, and none raises."""

    def __init__(self, queue: str, work_dir: Path) -> None:
        """``queue`` is the queue's name."""
        self._queue = queue
        self._work_dir = work_dir
        self._lock = threading.Lock()
        self._alive = threading.Event()  # set by progress since the last minute's document
        self._deaths = 0  # since the last document
        self._pending: int | None = None
        self._matrix: MatrixState | None = None
        # Versions of features/ that the matrix lacks, and when they were committed. Until its first
        # update we cannot know, so it counts as behind since our start.
        self._unmirrored = deque([(0, time.monotonic())])
        self._reconciled: datetime | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Emit a document at the first progress, and then each minute until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Emit no more of those; returns at once. May be called without :meth:`start`."""
        self._stopping.set()

    def alive(self) -> None:
        """The service made progress."""
        self._alive.set()

    def worker_died(self) -> None:
        """A worker died over photos."""
        with self._lock:
            self._deaths += 1

    @_harmless
    def batch(self, done: Durable) -> None:
        """A round of a micro-batch is durable."""
        settled = done.settled
        with self._lock:
            self._pending = done.pending
            if len(self._unmirrored) < MOST_UNMIRRORED:
                self._unmirrored.append((done.features_version, time.monotonic()))
        self._emit(
            {
                metrics.PHOTOS: settled.stored,
                metrics.HANDLED: done.photos,
                metrics.REJECTS: settled.new_rejects,
                metrics.DUPLICATES: settled.unchanged,
                metrics.REMOVED: settled.removed,
                metrics.PENDING: done.pending,
                metrics.UPLOAD_TO_ROW: done.upload_to_row,
                metrics.COMMIT_SECONDS: done.commit_seconds,
                metrics.WORKER_DEATHS: self._take_deaths(),
                **({metrics.RATE: done.photos / done.seconds} if done.photos else {}),
            }
        )

    @_harmless
    def matrix(self, done: Update | None, state: MatrixState | None) -> None:
        """The matrix was brought up to date. ``done``: by doing what, ``state``: as it is now."""
        with self._lock:
            self._matrix = state
            while self._unmirrored and (
                state is None or self._unmirrored[0][0] <= state.features_version
            ):
                self._unmirrored.popleft()
        if done and done.refit:
            drift = {} if done.drift is None else {metrics.DRIFT: 100 * done.drift}
            self._emit({metrics.REFIT_SECONDS: done.fit_seconds + done.mirror_seconds, **drift})

    @_harmless
    def reconciled(self, findings: int) -> None:
        """A reconciliation of the whole bucket ended, with so many differences."""
        self._emit({metrics.FINDINGS: findings})

    @_harmless
    def last_reconciled(self, at: datetime | None) -> None:
        """The last one ended then, whichever service made it."""
        self._reconciled = at

    @_harmless
    def minute(self) -> None:
        """Emit what is true now, a heartbeat if there was progress since the last minute.

        Counters get a 0, so that they have data while there is nothing to count: an alarm can tell a
        service that does nothing from one that is dead. What cannot be measured silences nothing else.
        """
        values: dict[Metric, Value] = dict.fromkeys(
            (metrics.PHOTOS, metrics.HANDLED, metrics.REJECTS), 0
        )
        values[metrics.WORKER_DEATHS] = self._take_deaths()
        if self._alive.is_set():
            self._alive.clear()
            values[metrics.HEARTBEAT] = 1
        try:
            values |= self._gauges()
        except Exception:
            log.exception("gauges are missing")
        self._emit(values)

    def _gauges(self) -> dict[Metric, Value]:
        now = datetime.now(UTC)
        with self._lock:
            since = self._unmirrored[0][1] if self._unmirrored else None
            pending, matrix, reconciled = self._pending, self._matrix, self._reconciled
        gauges: dict[Metric, Value] = {
            metrics.MEMORY_USED: 100 * memory_used(),
            metrics.MATRIX_BEHIND: 0 if since is None else time.monotonic() - since,
        }
        try:
            disk = shutil.disk_usage(self._work_dir)
            gauges[metrics.DISK_USED] = 100 * disk.used / (disk.used + disk.free)
        except OSError as error:  # deleted; the service is about to end
            log.debug("%s: %s", self._work_dir, error)
        if pending is not None:
            gauges[metrics.PENDING] = pending
        if matrix:
            gauges[metrics.MATRIX_AGE] = (now - matrix.fitted_at).total_seconds()
            gauges[metrics.TABLE_FILES] = matrix.files
            gauges[metrics.TABLE_BYTES] = matrix.bytes
        if reconciled:
            gauges[metrics.RECONCILIATION_AGE] = (now - reconciled).total_seconds()
        return gauges

    def _take_deaths(self) -> int:
        with self._lock:
            deaths, self._deaths = self._deaths, 0
        return deaths

    def _emit(self, values: Mapping[Metric, Value]) -> None:
        for document in metrics.documents(self._queue, values, datetime.now(UTC)):
            log.info("metrics", extra=document)

    def _run(self) -> None:
        self._alive.wait(
            MINUTE_SECONDS
        )  # at a first deployment the alarms are next, and look at once
        while not self._stopping.is_set():
            self.minute()
            self._stopping.wait(MINUTE_SECONDS)
