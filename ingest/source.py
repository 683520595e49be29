"""The ``s3-sqs`` Structured Streaming source: one row per object event that reached an SQS queue.

Use it alone, in any Spark 4.3 job::

    spark.dataSource.register(S3SqsDataSource)
    events = spark.readStream.format("s3-sqs").option("queueUrl", url).load()

Options (Spark's option names are case-insensitive):

=========================== ========= ==============================================================
``queueUrl``                required  the queue; region, endpoint, credentials: the AWS chain
``maxFilesPerTrigger``      1000      object events in one micro-batch, at most 100,000
``maxBytesPerTrigger``      unlimited bytes of objects in one micro-batch, as the events state them
``maxSecondsPerTrigger``    unlimited how long a micro-batch should take, judged by the one before it
``visibilityTimeoutSeconds``60        how soon a killed job's messages come back, at most 43,200
``receivers``               4         receiving threads under load, at most 64
=========================== ========= ==============================================================

Delivery guarantee: at least once. A message is deleted after the micro-batch that contained it has
ended, that is: when Spark asks for the next one (``commit`` would come a batch later). An offset is
the number of messages handed to Spark so far; it means something only to the process that handed them
out. A range that this process does not know (Spark replays its last batch after a restart) is empty:
those messages were not acknowledged, so SQS delivers them again.

The unit of limits is the message: one that carries several records is never split.
"""

import _thread
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, MutableMapping, Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxFiles,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)
from pyspark.sql.types import StructType

from common import logs
from ingest.queue import Delivery, Inbox

log = logging.getLogger(__name__)

SCHEMA = (
    "bucket string not null, key string not null, version_id string, etag string, size bigint, "
    "event_name string not null, event_time timestamp not null, sequencer string, "
    "message_id string not null, sent_at timestamp not null, receive_count int not null"
)
FIRST_FILES = 128  # a micro-batch that is cut by time may have as many, whatever the rate
IDLE_WAIT_SECONDS = 1.0  # how long a plan waits for a first message: idle, one call a second
GOODBYE_SECONDS = 30  # for releasing messages once Spark has ended the process


class S3SqsDataSource(DataSource):
    """Object events from S3, through an SQS queue; see the module's text for options."""

    @classmethod
    def name(cls) -> str:
        return "s3-sqs"

    def schema(self) -> str:
        return SCHEMA

    def streamReader(self, schema: StructType) -> "S3SqsStreamReader":
        return S3SqsStreamReader(self.options)


class _Rows(InputPartition):
    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        super().__init__(rows)
        self.rows = rows


class S3SqsStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Plans micro-batches from an :class:`~ingest.queue.Inbox` that lives in Spark's planning process.

    Spark pickles a reader for ``read``, so the inbox (threads, sockets) is opened on the first plan and
    never by construction.
    """

    def __init__(self, options: MutableMapping[str, str]) -> None:
        if not options.get("queueUrl"):
            raise ValueError('s3-sqs needs .option("queueUrl", …): the URL of the SQS queue')
        self._queue_url = options["queueUrl"]
        self._max_files = _whole(options, "maxFilesPerTrigger", 1000, most=100_000)
        self._max_bytes = _whole(options, "maxBytesPerTrigger", sys.maxsize, most=sys.maxsize)
        self._max_seconds = _whole(options, "maxSecondsPerTrigger", sys.maxsize, most=sys.maxsize)
        self._paced_files = self._max_files
        if self._max_seconds < sys.maxsize:  # there is no rate to judge by yet
            self._paced_files = min(self._max_files, FIRST_FILES)
        self._visibility = _whole(options, "visibilityTimeoutSeconds", 60, most=12 * 3600)
        self._receivers = _whole(options, "receivers", 4, most=64)
        self._inbox: Inbox | None = None
        self._handed_out: dict[int, Delivery] = {}  # by the offset that it ends
        self._handed_out_at = 0.0
        self._until_drained = False
        self._parent = os.getppid()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_inbox": None, "_handed_out": {}}

    def initialOffset(self) -> dict[str, int]:
        return {"messages": 0}

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxFiles(self._max_files)

    def prepareForTriggerAvailableNow(self) -> None:
        """Read until the queue is empty, counting what other consumers hold as still to come."""
        self._until_drained = True

    def latestOffset(self, start: dict[str, int], limit: ReadLimit) -> dict[str, int]:
        """Acknowledge everything up to ``start``, then hand out what is there, within ``limit``."""
        inbox = self._open()
        offsets = [offset for offset in self._handed_out if offset <= start["messages"]]
        done = [self._handed_out.pop(offset) for offset in offsets]
        self._pace(inbox, sum(each.files for each in done))
        inbox.acknowledge(done)
        taken = self._take(inbox, limit)
        self._handed_out_at = time.monotonic()
        last = max(self._handed_out, default=start["messages"])
        self._handed_out.update(enumerate(taken, last + 1))
        return {"messages": last + len(taken)}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[InputPartition]:
        """The rows between two offsets in one partition: they are small, their objects are not."""
        offsets = range(start["messages"] + 1, end["messages"] + 1)
        rows = [
            row
            for offset in offsets
            if offset in self._handed_out
            for row in _rows(self._handed_out[offset])
        ]
        return [_Rows(rows)] if rows else []

    def read(self, partition: InputPartition) -> Iterator[tuple[Any, ...]]:
        assert isinstance(partition, _Rows)  # noqa: S101  (partitions() makes no other)
        return iter(partition.rows)

    def stop(self) -> None:
        """Release what is not acknowledged. Called when Spark closes the connection."""
        inbox = self._inbox  # kept until it has stopped: another thread may call this meanwhile
        if inbox:
            inbox.stop()
        self._inbox = None

    def _pace(self, inbox: Inbox, files: int) -> None:
        """Set the next micro-batch's size by the time that the last, of ``files``, took."""
        if files:
            seconds = time.monotonic() - self._handed_out_at
            fitting = int(files / seconds * self._max_seconds) if seconds > 0 else self._max_files
            self._paced_files = min(self._max_files, max(FIRST_FILES, fitting))
        inbox.capacity = 2 * self._paced_files

    def _take(self, inbox: Inbox, limit: ReadLimit) -> list[Delivery]:
        max_files: int | None = self._max_files
        max_bytes: int | None = self._max_bytes
        match limit:
            case ReadAllAvailable():
                max_files = max_bytes = None
            case ReadMaxFiles():
                max_files = limit.max_files
            case ReadMaxRows():
                max_files = limit.max_rows
            case ReadMaxBytes():
                max_bytes = limit.max_bytes
        if max_files is not None:
            max_files = min(max_files, self._paced_files)
        while True:
            taken = inbox.take(
                max_files=max_files, max_bytes=max_bytes, wait_seconds=IDLE_WAIT_SECONDS
            )
            orphaned = os.getppid() != self._parent  # the JVM was killed
            if taken or orphaned or not self._until_drained or inbox.drained():
                return taken

    def _open(self) -> Inbox:
        if self._inbox is None:
            logs.to_stderr()
            # Spark ends this process by SIGTERM and does not call stop().
            with contextlib.suppress(ValueError):  # not the main thread: a test drives the reader
                signal.signal(signal.SIGTERM, self._terminated)
            self._inbox = Inbox(
                self._queue_url,
                capacity=2 * self._max_files,
                visibility_timeout_seconds=self._visibility,
                receivers=self._receivers,
            )
        return self._inbox

    def _terminated(self, _signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Spark sends it twice
        signal.alarm(GOODBYE_SECONDS)  # kills the process, whatever hangs
        # Not in this thread: the signal may have met it holding a lock that stop() needs.
        _thread.start_new_thread(self._end, ())

    def _end(self) -> None:
        self.stop()
        os._exit(0)


def _rows(delivery: Delivery) -> Iterator[tuple[Any, ...]]:
    sent_at = datetime.fromtimestamp(delivery.sent_at_ms / 1000, UTC)
    for event in delivery.events:
        yield (
            event.bucket,
            event.key,
            event.version_id,
            event.etag,
            event.size,
            event.event_name,
            event.event_time,
            event.sequencer,
            delivery.message_id,
            sent_at,
            delivery.receive_count,
        )


def _whole(options: MutableMapping[str, str], name: str, default: int, *, most: int) -> int:
    raw = options.get(name)
    if raw is None:
        return default
    if not raw.isdecimal() or not 1 <= int(raw) <= most:
        raise ValueError(
            f"s3-sqs option {name} = {raw!r}: should be a whole number from 1 to {most}"
        )
    return int(raw)
