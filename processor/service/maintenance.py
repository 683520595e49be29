"""Maintenance: the thread that has photos tried again, and keeps the matrix and the tables in order.

The matrix is written as CSV in a thread beside it, because that may take many minutes: no new photo
waits for it, and no compaction.
"""

import logging
import threading
import time
from collections.abc import Callable

import pyarrow as pa

from common.layout import StoreLayout
from processor.matrix import models, partials, statistics_cache
from processor.matrix.matrix import Matrix, MatrixState, Update
from processor.matrix.mirror import model_name
from processor.photos.objects import concerns_all
from processor.pipeline.retries import Retries
from processor.service.reporter import Reporter
from processor.store import delta
from processor.store.compaction import Tasks, compact
from processor.store.datafiles import Swap
from processor.store.patience import patiently
from processor.store.schema import FEATURES, PENDING, REJECTS

log = logging.getLogger(__name__)

CHECK_SECONDS = 60.0  # between checks of the matrix if no micro-batch calls for one, and of retries
RETRY_SECONDS = 60.0
COMPACTIONS = 4  # of a table, one after the other: so many GB are rewritten at most


class Maintenance:
    """Maintains the tables of one store; no failure here stops ingestion.

    Several services may do it at once, and it may be killed at any point: a process that dies leaves
    orphaned files, which the first vacuum after the retention deletes.
    """

    def __init__(
        self,
        layout: StoreLayout,
        matrix: Matrix,
        tasks: Tasks,
        retries: Retries,
        *,
        interval_seconds: int,
        retention_hours: int,
        updated: Callable[[Update | None, MatrixState | None], object] = lambda *_: None,
        reporter: Reporter | None = None,
    ) -> None:
        """``interval_seconds``: between compactions and vacuums; 0: never.

        ``updated`` is called after each update of the matrix with what it did, and must not raise. The
        ``reporter`` is started, told of refits, and stopped.
        """
        self._layout = layout
        self._matrix = matrix
        self._tasks = tasks
        self._retries = retries
        self._interval = interval_seconds
        self._retention_hours = retention_hours
        self._updated = updated
        self._reporter = reporter
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._maintain, name="tables", daemon=True)
        self._updates = threading.Event()  # of the matrix, since the other thread has looked
        self._csv_thread = threading.Thread(target=self._keep_csv, name="csv", daemon=True)

    def start(self) -> None:
        """Maintain the tables in a thread until :meth:`stop`, the CSV and the report in others."""
        self._thread.start()
        self._csv_thread.start()
        if self._reporter:
            self._reporter.start()

    def wake(self) -> None:
        """Have the matrix brought up to date soon."""
        self._changed.set()

    def check(self) -> None:
        """Raise the error of a step that no retry mends: the bucket is gone, or the credentials are bad.

        Where no photos come, nobody else would notice.
        """
        if self._fault:
            raise self._fault

    def stop(self) -> None:
        """Start no further step; returns at once. From now on a step that fails is not an error."""
        self._stopping.set()
        self._changed.set()
        self._updates.set()
        if self._reporter:
            self._reporter.stop()

    def join(self, timeout_seconds: float) -> None:
        """Wait at most that long for the current steps; the process may be killed in them."""
        until = time.monotonic() + timeout_seconds
        for thread in (self._thread, self._csv_thread):
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))

    def refit(self) -> None:
        """Refit the PCA now, bring the matrix to the newest features, write the CSV and the report."""
        patiently(lambda: self._update(force=True))
        patiently(lambda: self._matrix.export(wait=True))
        if self._reporter:
            self._reporter.now()

    def retry(self) -> None:
        """Enqueue the photos that are to be tried again."""
        patiently(self._retries.send_due, self._stopping)

    def clean(self) -> None:
        """Compact and vacuum the tables, and delete old models. May be interrupted and repeated."""
        layout = self._layout
        self.compact(layout.features, FEATURES)
        self.compact(layout.rejects, REJECTS)
        self.compact(layout.pending, PENDING)
        for folder in (layout.features, layout.rejects, layout.pending, layout.reduced):
            self._vacuum(folder)
        self._sweep_models()
        partials.sweep(layout)
        self._retries.recheck_vanished()

    def compact(self, folder: str, schema: pa.Schema) -> int:
        """Merge the files of one table that are due; the number of files merged."""
        began = time.monotonic()
        swaps: list[Swap] = []
        for _ in range(COMPACTIONS):
            done = [] if self._stopping.is_set() else compact(folder, schema, self._tasks)
            if not done:
                break
            if folder == self._layout.features:
                statistics_cache.follow(self._layout, done)
                self._matrix.follow(done)
            swaps += done
        if not swaps:
            return 0
        removed = [file for each in swaps for file in each.removed]
        log.info(
            "compacted files",
            extra={
                "table": folder,
                "files": len(removed),
                "into": sum(len(each.added) for each in swaps),
                "bytes": sum(file.size for file in removed),
                "seconds": round(time.monotonic() - began, 3),
            },
        )
        return len(removed)

    def _update(self, *, force: bool = False) -> None:
        done = self._matrix.update(force=force)
        self._updated(done, self._matrix.state)
        self._updates.set()
        if self._reporter and done and done.refit:
            self._reporter.refitted()

    def _maintain(self) -> None:
        cleaned_at = retried_at = time.monotonic()
        self._succeeds(self.retry)  # a service that is often restarted would never come to it
        while not self._stopping.is_set():
            self._changed.wait(CHECK_SECONDS)
            self._changed.clear()
            if self._stopping.is_set():
                return
            now = time.monotonic()
            steps: list[Callable[[], object]] = [self._update]
            if 0 < self._interval < now - cleaned_at:
                cleaned_at = now
                steps.append(self.clean)  # what is mirrored already need not be projected again
            if now - retried_at > CHECK_SECONDS:
                retried_at = now
                steps.insert(0, self.retry)
            failed = [step for step in steps if not self._succeeds(step)]
            if self._fault:
                return
            if failed:
                self._stopping.wait(RETRY_SECONDS)

    def _keep_csv(self) -> None:
        while not self._stopping.is_set():
            self._updates.wait()
            self._updates.clear()
            if not self._succeeds(self._matrix.export):
                self._updates.set()
                self._stopping.wait(RETRY_SECONDS)
            if self._fault:
                return

    def _succeeds(self, step: Callable[[], object]) -> bool:
        """Take a step, whether or not others fail, unless none is to be taken any more."""
        if self._stopping.is_set() or self._fault:
            return True
        try:
            patiently(step, self._stopping)
        except Exception as error:
            if not self._stopping.is_set():
                if concerns_all(error):
                    self._fault = error
                else:
                    log.exception("the tables could not be maintained; trying again later")
                return False
        return True

    def _vacuum(self, folder: str) -> None:
        table = delta.open_table(folder)
        deleted = table.vacuum(self._retention_hours) if table else 0
        if deleted:
            log.info(
                "deleted files that no version needs", extra={"table": folder, "files": deleted}
            )

    def _sweep_models(self) -> None:
        reduced = delta.open_table(self._layout.reduced)
        deleted = models.sweep(self._layout, model_name(reduced)) if reduced else 0
        if deleted:
            log.info("deleted models replaced long ago", extra={"models": deleted})
