"""The service: the streaming query that turns events into rows, and the upkeep of the matrix beside it.

Crash-only: whatever it cannot handle ends the process with one line that says why; systemd starts it
again, and SQS delivers again what was not acknowledged.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from common.config import Config
from ingest.events import ObjectEvent
from ingest.source import S3SqsDataSource
from processor.matrix.matrix import Matrix
from processor.pipeline.micro_batch import MicroBatches
from processor.service.preflight import cause_in
from processor.store.compaction import Upkeep

log = logging.getLogger(__name__)

MATRIX_CHECK_SECONDS = 60.0  # how often to look without a batch that tells
MATRIX_RETRY_SECONDS = 60.0
WARM_SECONDS = 25.0  # Spark ends idle workers after 60


class ServiceError(RuntimeError):
    """The service had to stop; the message names the cause and, if known, the fix."""


class Service:
    """Photos in, rows and matrix out, until it is stopped.

    At least once, and idempotent: an event is acknowledged after its outcome is durable, and may be
    handled any number of times.
    """

    def __init__(
        self,
        config: Config,
        session: SparkSession,
        batches: MicroBatches,
        matrix: Matrix,
        queue_url: str,
        upkeep: Upkeep,
        warm_up: Callable[[], None],
    ) -> None:
        self._config = config
        self._session = session
        self._batches = batches
        self._matrix = matrix
        self._queue_url = queue_url
        self._upkeep = upkeep
        self._warm_up = warm_up
        self._stopping = threading.Event()
        self._moved = threading.Event()
        self._batch = threading.Lock()
        self._fault: BaseException | None = None

    def run(self, *, once: bool = False) -> None:
        """Run until :meth:`stop`; with ``once`` until the queue is drained, then refit and return.

        Raises :class:`ServiceError` or whatever broke a micro-batch.
        """
        query = self._start_query(once)
        upkeep = threading.Thread(target=self._keep_tables, name="tables", daemon=True)
        if not once:
            upkeep.start()
        threading.Thread(target=self._keep_warm, name="warm", daemon=True).start()
        log.info("service started", extra={"queue": self._queue_url, "once": once})
        self._await(query)
        drained = not self._stopping.is_set()
        self._stopping.set()
        if once:
            if not drained:
                raise ServiceError("stopped before the queue was drained; run it again")
            self._matrix.update(force=True)
        else:
            self._moved.set()
            upkeep.join(timeout=self._config.service.stop_grace_seconds)
        log.info("service stopped")

    def stop(self) -> None:
        """Let the running micro-batch become durable within the grace period, then return from run."""
        self._stopping.set()

    # ------------------------------------------------------------------ ingestion

    def _start_query(self, once: bool) -> StreamingQuery:
        config = self._config
        self._session.dataSource.register(S3SqsDataSource)
        events = (
            self._session.readStream.format("s3-sqs")
            .option("queueUrl", self._queue_url)
            .option("maxFilesPerTrigger", str(config.batch.max_photos))
            .option("maxBytesPerTrigger", str(config.batch.max_bytes))
            .option("maxSecondsPerTrigger", str(config.batch.max_seconds))
            .option("visibilityTimeoutSeconds", str(config.queue.visibility_timeout_seconds))
            .option("receivers", str(config.queue.receivers))
            .load()
        )
        checkpoint = Path(config.service.work_dir, "checkpoint").resolve()
        writer = (
            events.writeStream.queryName("photos")
            .foreachBatch(self._handle)
            .option("checkpointLocation", checkpoint.as_uri())
        )
        return (writer.trigger(availableNow=True) if once else writer).start()

    def _await(self, query: StreamingQuery) -> None:
        try:
            while not self._stopping.is_set():
                if query.awaitTermination(1):
                    return
        except StreamingQueryException as error:
            raise self._fault or ServiceError(cause_in(str(error))) from error
        log.info("stopping")
        grace = self._config.service.stop_grace_seconds
        if self._batch.acquire(timeout=grace):
            time.sleep(0.5)  # Spark asks the source for the next batch: this acknowledges the last
        else:
            log.warning("the micro-batch is not durable after %d s; its messages come back", grace)
        try:
            query.stop()
        except Exception as error:  # the batch does not let itself be interrupted; the end does it
            log.warning("the query did not stop: %s", cause_in(str(error)))

    def _handle(self, rows: DataFrame, batch_id: int) -> None:
        """Make one micro-batch durable. Spark may repeat it, with the same or other events."""
        with self._batch:
            if self._stopping.is_set():
                raise ServiceError("stopping")
            try:
                self._batches.handle([_event(row) for row in rows.collect()], batch_id)
                self._moved.set()
            except BaseException as error:
                self._fault = error
                raise

    def _keep_warm(self) -> None:
        """Have the workers load the network while Spark starts, and keep them when photos are rare."""
        self._session.sparkContext.setLocalProperty("spark.scheduler.pool", "warm")
        while not self._stopping.is_set():
            try:
                if not self._batch.locked():
                    self._warm_up()
            except Exception as error:
                if not self._stopping.is_set():  # a micro-batch will meet the same, and tell
                    log.warning("the workers do not get ready: %s", cause_in(str(error)))
            self._stopping.wait(WARM_SECONDS)

    # ------------------------------------------------------------------ the tables

    def _keep_tables(self) -> None:
        """Tend matrix and files by background tasks; no failure here stops ingestion."""
        tended_at = time.monotonic()
        while not self._stopping.is_set():
            self._moved.wait(MATRIX_CHECK_SECONDS)
            self._moved.clear()
            try:
                if 0 < self._config.upkeep.interval_seconds < time.monotonic() - tended_at:
                    tended_at = time.monotonic()
                    self._upkeep.run()
                self._matrix.update()
            except Exception:
                if self._stopping.is_set():
                    return
                log.exception("the tables could not be kept up; trying again later")
                self._stopping.wait(MATRIX_RETRY_SECONDS)


def _event(row: Any) -> ObjectEvent:
    return ObjectEvent(
        bucket=row["bucket"],
        key=row["key"],
        version_id=row["version_id"],
        etag=row["etag"],
        size=row["size"],
        event_name=row["event_name"],
        event_time=row["event_time"].astimezone(UTC),
        sequencer=row["sequencer"],
    )
