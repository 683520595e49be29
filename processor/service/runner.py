"""The runner: the streaming query that turns events into rows, and the maintenance beside it.

Crash-only: whatever it cannot handle ends the process with one line that says why; systemd starts it
again, and SQS redelivers what was not acknowledged.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)
from pyspark.sql.streaming.query import StreamingQuery

from common.log_context import bound
from ingest import records
from ingest.source import S3SqsDataSource
from processor.errors import ServiceError, cause_in, fault_in, started_late
from processor.pipeline.micro_batch import MicroBatches
from processor.service.batch_lines import BatchLines
from processor.service.maintenance import Maintenance
from processor.service.metrics import Metrics
from processor.service.reconciler import Reconciler
from processor.service.watchdog import Watchdog

log = logging.getLogger(__name__)

STARTS = 4  # of the query, before a machine is given up as too slow for it
ONCE_PATIENCE_SECONDS = 60.0  # with an outage of S3; a service that runs on waits for its end
WARM_SECONDS = 25.0  # between no-op tasks, because Spark ends workers that were idle for a minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What the streaming query reads and within which limits; see ``s3-sqs`` in :mod:`ingest.source`."""

    queue_url: str
    bucket: str  # its events are ours,
    prefix: str  # if their keys begin with this
    max_events: int
    max_bytes: int
    max_seconds: int
    max_delay_seconds: int
    visibility_timeout_seconds: int
    receivers: int
    checkpoint: Path
    stop_grace_seconds: int  # for the running micro-batch to become durable


class Service:
    """Photos in, rows and matrix out, until it is stopped.

    Delivery guarantee: at least once, and idempotent. An event is acknowledged after its outcome is
    durable, and may be handled any number of times.
    """

    def __init__(
        self,
        session: SparkSession,
        stream: Stream,
        batches: MicroBatches,
        maintenance: Maintenance,
        reconciler: Reconciler,
        warm_up: Callable[[], None],
        watchdog: Watchdog,
        lines: BatchLines,
        metrics: Metrics,
    ) -> None:
        self._session = session
        self._stream = stream
        self._batches = batches
        self._maintenance = maintenance
        self._reconciler = reconciler
        self._warm_up = warm_up
        self._watchdog = watchdog
        self._lines = lines
        self._metrics = metrics
        self._stopping = threading.Event()
        self._batch = threading.Lock()
        self._batch_id: int | None = None  # of the last one that began
        self._fault: BaseException | None = None
        self._starts = 1

    def run(self, *, once: bool = False, check: Callable[[], None] = lambda: None) -> None:
        """Run until :meth:`stop`; with ``once`` until the queue is drained, then refit and return.

        Raises :class:`ServiceError`, or the error that made a micro-batch fail; its events are
        redelivered to the next service. After :meth:`stop` only a refused ``once`` is an error.
        ``check`` is called every second, and what it raises ends the service.
        """
        if once:
            self._batches.limit_patience(ONCE_PATIENCE_SECONDS)
            self._maintenance.retry()  # otherwise its thread does
        self._session.dataSource.register(S3SqsDataSource)
        self._session.streams.addListener(_Plans(self._progress, self._lines))
        query = self._start_query(once=once)
        if not once:
            self._maintenance.start()
            self._reconciler.start()
            self._metrics.start()
        threading.Thread(target=self._keep_warm, name="warm", daemon=True).start()
        self._watchdog.start()
        log.info("service started", extra={"queue": self._stream.queue_url, "once": once})
        try:
            self._await(query, check, once=once)
            drained = not self._stopping.is_set()
            if once and not drained:
                raise ServiceError("stopped before the queue was drained; run it again")
            if not once:
                self._maintenance.join(self._stream.stop_grace_seconds)
        finally:
            self.stop()  # what fails from now on follows from the end
            self._watchdog.stop()
            self._lines.close()
            self._metrics.stop()
            if self._batch.acquire(blocking=False):  # else a micro-batch is still at work
                self._batches.close()
        if once:
            self._maintenance.refit()
        log.info("service stopped")

    def stop(self) -> None:
        """Have :meth:`run` return once the running micro-batch is durable or its grace period over.

        May be called by a signal handler.
        """
        self._stopping.set()
        self._batches.stop()
        self._maintenance.stop()
        self._reconciler.stop()

    def _start_query(self, *, once: bool) -> StreamingQuery:
        stream = self._stream
        events = (
            self._session.readStream.format("s3-sqs")
            .option("queueUrl", stream.queue_url)
            .option("bucket", stream.bucket)
            .option("prefix", stream.prefix)
            .option("maxFilesPerTrigger", str(stream.max_events))
            .option("maxBytesPerTrigger", str(stream.max_bytes))
            .option("maxSecondsPerTrigger", str(stream.max_seconds))
            .option("maxTriggerDelaySeconds", str(stream.max_delay_seconds))
            .option("visibilityTimeoutSeconds", str(stream.visibility_timeout_seconds))
            .option("receivers", str(stream.receivers))
            .load()
        )
        writer = (
            events.writeStream.queryName("photos")
            .foreachBatch(self._handle)
            .option("checkpointLocation", stream.checkpoint.resolve().as_uri())
        )
        return (writer.trigger(availableNow=True) if once else writer).start()

    def _await(self, query: StreamingQuery, check: Callable[[], None], *, once: bool) -> None:
        try:
            while not self._stopping.is_set():
                check()
                self._maintenance.check()
                running = self._after_a_second(query, once=once)
                if running is None:
                    return
                query = running
                if once and not self._batch.locked():  # what other consumers hold is waited for
                    self._progress()
        except Exception as error:
            if not self._stopping.is_set():
                if isinstance(error, StreamingQueryException):
                    raise self._fault or ServiceError(fault_in(str(error))) from error
                raise
            log.info("the query ended: %s", cause_in(str(error)))  # a micro-batch came after stop()
        log.info("stopping")
        self._finish(query)

    def _finish(self, query: StreamingQuery) -> None:
        """Give the running micro-batch its grace period, then end the query."""
        grace = self._stream.stop_grace_seconds
        self._watchdog.stopping(2 * grace)
        if self._batch.acquire(timeout=grace):
            self._batch.release()  # a micro-batch that waits for it sees that we stop
            time.sleep(0.5)  # Spark asks the source for the next batch, which acknowledges the last
        else:
            with bound(batch=self._batch_id):
                log.warning(
                    "the micro-batch is not durable after %d s; its messages will be redelivered",
                    grace,
                )
        if self._fault:
            cause = cause_in(f"{type(self._fault).__name__}: {self._fault}")
            with bound(batch=self._batch_id):
                log.warning("the micro-batch failed; its messages will be redelivered: %s", cause)
        try:
            query.stop()
        except Exception as error:  # the batch cannot be interrupted; it ends with the process
            log.warning("the query did not stop: %s", cause_in(str(error)))

    def _after_a_second(self, query: StreamingQuery, *, once: bool) -> StreamingQuery | None:
        """The query, perhaps started again; None if it has ended. Raises what ended it."""
        try:
            return None if query.awaitTermination(1) else query
        except StreamingQueryException as error:
            self._starts += 1
            late = started_late(str(error)) and self._starts <= STARTS
            if self._stopping.is_set() or not late:
                raise
            log.warning("%s; starting the query again", cause_in(str(error)))
            self._fault = None
            return self._start_query(once=once)

    def _handle(self, rows: DataFrame, batch_id: int) -> None:
        """Make one micro-batch durable. Spark may repeat it, with the same or other events."""
        with self._batch:
            if self._stopping.is_set():
                raise ServiceError("stopping")
            self._progress()
            self._batch_id = batch_id
            try:
                events = [records.event(row) for row in rows.collect()]
                self._lines.durable(batch_id, self._batches.handle(events, batch_id))
                self._maintenance.wake()
            except BaseException as error:
                self._fault = error
                raise
            self._progress()

    def _progress(self) -> None:
        self._watchdog.progress()
        self._metrics.alive()

    def _keep_warm(self) -> None:
        """Have workers load the network while Spark starts, and keep them alive if photos are rare."""
        self._session.sparkContext.setLocalProperty("spark.scheduler.pool", "warm")
        while not self._stopping.is_set():
            try:
                if not self._batch.locked():
                    self._warm_up()
            except Exception as error:
                if not self._stopping.is_set():  # a micro-batch will fail likewise and report it
                    log.warning("the workers cannot be warmed up: %s", cause_in(str(error)))
            self._stopping.wait(WARM_SECONDS)


class _Plans(StreamingQueryListener):
    """Calls ``note`` whenever the query has planned, whether or not there was anything to do."""

    def __init__(self, note: Callable[[], None], lines: BatchLines) -> None:
        self._note = note
        self._lines = lines

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        pass

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        self._note()
        self._lines.progressed(event.progress.json)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        self._note()
        self._lines.idle()

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        pass
