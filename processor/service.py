"""The service: the streaming query that turns events into rows, and the upkeep of the matrix beside it.

Crash-only: whatever it cannot handle ends the process with one line that says why; systemd starts it
again, and SQS delivers again what was not acknowledged.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from config import Config
from ingest.events import ObjectEvent, message, newest
from ingest.queue import connect
from ingest.source import S3SqsDataSource
from processor.extract import Recipe, extract_all, is_current
from processor.outcomes import Extracted, Kind, Work, of_kind
from processor.reduce import Matrix
from processor.store import FeatureStore

log = logging.getLogger(__name__)

MATRIX_CHECK_SECONDS = 5.0  # how often to see whether the features moved, without a batch to tell
MATRIX_RETRY_SECONDS = 60.0
MAX_ATTEMPTS = 5  # at a photo that S3 cannot deliver
FIRST_RETRY_SECONDS = 60
MAX_DELAY_SECONDS = 900  # SQS delays no message longer


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
        recipe: Recipe,
        store: FeatureStore,
        matrix: Matrix,
        queue_url: str,
        workers: int,
    ) -> None:
        self._config = config
        self._session = session
        self._recipe = recipe
        self._store = store
        self._matrix = matrix
        self._queue_url = queue_url
        self._workers = workers
        self._sqs = connect(4)
        self._stopping = threading.Event()
        self._moved = threading.Event()
        self._batch = threading.Lock()
        self._fault: BaseException | None = None

    def run(self, *, once: bool = False) -> None:
        """Run until :meth:`stop`; with ``once`` until the queue is drained, then refit and return.

        Raises :class:`ServiceError` or whatever broke a micro-batch.
        """
        query = self._start_query(once)
        upkeep = threading.Thread(target=self._keep_matrix, name="matrix", daemon=True)
        if not once:
            upkeep.start()
        log.info("service started", extra={"queue": self._queue_url, "once": once})
        self._await(query)
        if once:
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
            raise self._fault or ServiceError(_last_line(str(error))) from error
        log.info("stopping")
        grace = self._config.service.stop_grace_seconds
        if self._batch.acquire(timeout=grace):
            time.sleep(0.5)  # Spark asks the source for the next batch: this acknowledges the last
        else:
            log.warning("the micro-batch is not durable after %d s; its messages come back", grace)
        query.stop()

    def _handle(self, rows: DataFrame, batch_id: int) -> None:
        """Make one micro-batch durable. Spark may repeat it, with the same or other events."""
        with self._batch:
            if self._stopping.is_set():
                raise ServiceError("stopping")
            try:
                self._settle(rows, batch_id)
            except BaseException as error:
                self._fault = error
                raise

    def _settle(self, rows: DataFrame, batch_id: int) -> None:
        began = time.monotonic()
        events = newest(_event(row) for row in rows.collect())
        photos = [event for event in events.values() if self._is_photo(event)]
        self._store.features.refresh()
        planned_on = self._store.features.version
        works = self._plan(photos)
        results = extract_all(self._session.sparkContext, works, self._recipe, self._workers)
        self._try_later(results, photos)
        settled = self._store.settle(
            results,
            planned_on,
            lambda outcome: is_current(self._recipe.bucket, outcome),
            {"batch": batch_id},
        )
        self._moved.set()
        seconds = time.monotonic() - began
        log.info(
            "micro-batch durable",
            extra={
                "batch": batch_id,
                "photos": len(works),
                **{name: getattr(settled, name) for name in settled.__slots__},
                "seconds": round(seconds, 3),
                "photos_per_s": round(len(works) / seconds, 2),
            },
        )
        for outcome in of_kind(results, Kind.REJECTED, Kind.UNAVAILABLE):
            log.warning(
                "photo rejected",
                extra={"key": outcome.key, "reason": outcome.reason, "detail": outcome.detail},
            )

    def _is_photo(self, event: ObjectEvent) -> bool:
        ours = event.bucket == self._recipe.bucket and event.key.startswith(
            self._recipe.photos_prefix
        )
        if not ours:
            log.warning("ignored an event of another place: s3://%s/%s", event.bucket, event.key)
        return ours and not event.key.endswith("/")  # the console makes folders as empty objects

    def _plan(self, photos: Sequence[ObjectEvent]) -> list[Work]:
        known = self._store.features.find(event.key for event in photos)
        return [
            Work(
                key=event.key,
                event_version=event.version_id or event.etag,
                event_time=event.event_time,
                removal=event.removed,
                stored_version=known[event.key].version if event.key in known else None,
            )
            for event in photos
        ]

    def _try_later(self, results: Sequence[Extracted], photos: Sequence[ObjectEvent]) -> None:
        """Queue the events of photos that S3 could not deliver once more, later and later."""
        failed = {outcome.key for outcome in of_kind(results, Kind.UNAVAILABLE)}
        if not failed:
            return
        tried = self._store.attempts(failed)
        for event in photos:
            attempts = tried.get(event.key, 0) + 1
            if event.key in failed and attempts < MAX_ATTEMPTS:
                delay = min(MAX_DELAY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempts - 1))
                self._sqs.send_message(
                    QueueUrl=self._queue_url, MessageBody=message([event]), DelaySeconds=delay
                )

    # ------------------------------------------------------------------ the matrix

    def _keep_matrix(self) -> None:
        """Follow the features, in a scheduler pool of its own; a failure here never stops ingestion."""
        self._session.sparkContext.setLocalProperty("spark.scheduler.pool", "matrix")
        while not self._stopping.is_set():
            self._moved.wait(MATRIX_CHECK_SECONDS)
            self._moved.clear()
            try:
                self._matrix.update()
            except Exception:
                if self._stopping.is_set():
                    return
                log.exception("the matrix could not be updated; trying again later")
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


def _last_line(text: str) -> str:
    """The line of a Python traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith("ingest.")]
    return (named or lines or ["the streaming query failed"])[0].partition("Error: ")[-1] or lines[
        0
    ]
