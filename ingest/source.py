"""The ``s3-sqs`` Structured Streaming source: one row per object event that reached an SQS queue.

It can be used alone, in any Spark 4.3 job (the README shows a whole one)::

    spark.dataSource.register(S3SqsDataSource)
    events = spark.readStream.format("s3-sqs").option("queueUrl", url).load()

Its columns are :data:`ingest.records.SCHEMA`. Its options (Spark ignores the case of their names):

=========================== ========= ==============================================================
``queueUrl``                required  the queue; region, endpoint, credentials: the AWS chain
``maxFilesPerTrigger``      1000      object events in one micro-batch, at most 100,000
``maxBytesPerTrigger``      unlimited bytes of objects in one micro-batch, as the events state them
``maxSecondsPerTrigger``    unlimited how long a micro-batch should take, judged by the one before it
``maxTriggerDelaySeconds``  0         how long a micro-batch that is not full waits after the one before
                                      it, at most 300
``visibilityTimeoutSeconds``60        how soon a killed job's messages come back, at most 43,200
``receivers``               4         receiving threads under load, at most 64
``bucket``, ``prefix``      any       the objects that are wanted; a message about others is moved to
                                      the dead-letter queue
=========================== ========= ==============================================================

Few large micro-batches cost less than many small ones, so with ``maxTriggerDelaySeconds`` (as with the
option ``maxTriggerDelay`` of Spark's Kafka source) one begins that long after the one before it began,
or earlier where it is full: an object waits at most so long for others, and not at all where none came
before it for as long. Nothing waits with the trigger AvailableNow.

The unit of limits is the message: one that carries several events is never split.

Delivery guarantee: at least once. A message is deleted after the micro-batch that contained it has
ended, that is: when Spark plans the next one (``commit`` would come a batch later). An offset is the
number of messages handed to Spark so far; it means something only to the process that handed them
out. A range that this process does not know (Spark replays its last batch after a restart) is empty:
those messages were not acknowledged, so SQS redelivers them.

Receives: each stop and each crash of the job costs the messages that it holds one receive: those of
the running micro-batch, and as many as the next one needs. SQS counts a receive for good, even of a
message that is released, and makes it a dead letter after ``maxReceiveCount`` of them. That limit
should be 1,000, the most there is, if the job settles its own poison.

Errors: ValueError for a wrong option, when the stream is started; :class:`ingest.queue.QueueError`
where the queue cannot be used as configured, or if, with the trigger AvailableNow, SQS made messages
dead letters in the meantime. Both end the query. Malformed and foreign messages are moved to the
dead-letter queue, and outages are waited out: neither ends it.
"""

import _thread
import contextlib
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, MutableMapping, Sequence
from types import FrameType

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
from ingest import records
from ingest.events import ObjectEvent
from ingest.inbox import Inbox
from ingest.queue import Delivery

log = logging.getLogger(__name__)

# If micro-batches are cut by time: in the first, when there is no rate to judge by yet, and what a later
# one may have, whatever the rate.
FIRST_EVENTS, LEAST_EVENTS = 16, 128
IDLE_WAIT_SECONDS = 1.0  # of waiting for a first message; an idle query plans once a second
MOST_DELAY_SECONDS = 300  # of what is held meanwhile, each stop and each crash costs a receive
GOODBYE_SECONDS = 30  # for releasing messages once Spark has ended the process


class S3SqsDataSource(DataSource):
    """Object events from S3, through an SQS queue; options and guarantee: see the module."""

    @classmethod
    def name(cls) -> str:
        return "s3-sqs"

    def schema(self) -> str:
        return records.SCHEMA

    def streamReader(self, schema: StructType) -> "S3SqsStreamReader":
        return S3SqsStreamReader(self.options)


class _Rows(InputPartition):
    def __init__(self, rows: list[records.Record]) -> None:
        super().__init__(rows)
        self.rows = rows


class S3SqsStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Plans micro-batches from an :class:`~ingest.inbox.Inbox` that lives in Spark's planning process.

    Spark pickles a reader for ``read``, so the inbox (threads, sockets) is opened on the first plan and
    never by construction. Construction raises ValueError for a wrong option.
    """

    def __init__(self, options: MutableMapping[str, str]) -> None:
        if not options.get("queueUrl"):
            raise ValueError('s3-sqs needs .option("queueUrl", …): the URL of the SQS queue')
        self._queue_url = options["queueUrl"]
        self._max_events = _whole(options, "maxFilesPerTrigger", 1000, most=100_000)
        self._max_bytes = _whole(options, "maxBytesPerTrigger", sys.maxsize, most=sys.maxsize)
        self._max_seconds = _whole(options, "maxSecondsPerTrigger", sys.maxsize, most=sys.maxsize)
        self._paced_events = self._max_events
        if self._max_seconds < sys.maxsize:
            self._paced_events = min(self._max_events, FIRST_EVENTS)
        self._max_delay = _whole(
            options, "maxTriggerDelaySeconds", 0, least=0, most=MOST_DELAY_SECONDS
        )
        self._visibility = _whole(options, "visibilityTimeoutSeconds", 60, most=12 * 3600)
        self._receivers = _whole(options, "receivers", 4, most=64)
        self._bucket, self._prefix = options.get("bucket"), options.get("prefix", "")
        self._inbox: Inbox | None = None
        self._handed_out: dict[int, Delivery] = {}  # by the offset that it ends
        self._handed_out_at = -math.inf  # the last of them
        self._until_drained = False
        self._parent = os.getppid()

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_inbox": None, "_handed_out": {}}

    def initialOffset(self) -> dict[str, int]:
        return {"messages": 0}

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxFiles(self._max_events)

    def prepareForTriggerAvailableNow(self) -> None:
        """Read until the queue is drained; what other consumers hold may come back and is waited for."""
        self._until_drained = True

    def latestOffset(self, start: dict[str, int], limit: ReadLimit) -> dict[str, int]:
        """Acknowledge everything up to ``start``, then hand out what is there, within ``limit``.

        A plan that is repeated hands out further messages and forgets none. Raises
        :class:`ingest.queue.QueueError`.
        """
        inbox = self._open()
        offsets = [offset for offset in self._handed_out if offset <= start["messages"]]
        done = [self._handed_out.pop(offset) for offset in offsets]
        self._pace(inbox, sum(len(each.events) for each in done))
        inbox.acknowledge(done)
        taken = self._take(inbox, limit)
        if taken:
            self._handed_out_at = time.monotonic()
        last = max(self._handed_out, default=start["messages"])
        self._handed_out.update(enumerate(taken, last + 1))
        return {"messages": last + len(taken)}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[InputPartition]:
        """The rows between two offsets, in one partition: they are small, whatever their objects are.

        May be repeated until ``end`` is acknowledged; afterwards, and in another process, none.
        """
        offsets = range(start["messages"] + 1, end["messages"] + 1)
        rows = [
            row
            for offset in offsets
            if offset in self._handed_out
            for row in records.rows(self._handed_out[offset])
        ]
        return [_Rows(rows)] if rows else []

    def read(self, partition: InputPartition) -> Iterator[records.Record]:
        if not isinstance(partition, _Rows):
            raise TypeError(f"not a partition of this source: {partition!r}")
        return iter(partition.rows)

    def stop(self) -> None:
        """Release what is not acknowledged; within a long poll. May be repeated.

        Spark calls this when its connection to the process closes, but ends a query's process without
        it: see ``_terminated``.
        """
        inbox = self._inbox  # kept until it has stopped, because another thread may call this too
        if inbox:
            inbox.stop()
        self._inbox = None

    def _pace(self, inbox: Inbox, events: int) -> None:
        """Set the next micro-batch's size by the time that the last one, of ``events``, took."""
        if events:
            seconds = time.monotonic() - self._handed_out_at
            fitting = int(events / seconds * self._max_seconds) if seconds > 0 else self._max_events
            self._paced_events = min(self._max_events, max(LEAST_EVENTS, fitting))
        inbox.capacity = self._paced_events  # for the next micro-batch, while this one is worked on

    def _take(self, inbox: Inbox, limit: ReadLimit) -> list[Delivery]:
        max_events: int | None = self._max_events
        max_bytes: int | None = self._max_bytes
        match limit:
            case ReadAllAvailable():
                max_events = max_bytes = None
            case ReadMaxFiles():
                max_events = limit.max_files
            case ReadMaxRows():
                max_events = limit.max_rows
            case ReadMaxBytes():
                max_bytes = limit.max_bytes
        if max_events is not None:
            max_events = min(max_events, self._paced_events)
        delay = 0 if self._until_drained else self._max_delay
        while True:
            taken = inbox.take(
                max_events=max_events,
                max_bytes=max_bytes,
                wait_seconds=IDLE_WAIT_SECONDS,
                fill_seconds=self._handed_out_at + delay - time.monotonic(),
            )
            orphaned = os.getppid() != self._parent  # the JVM was killed
            if taken or orphaned or not self._until_drained or inbox.drained():
                return taken

    def _open(self) -> Inbox:
        if self._inbox is None:
            logs.to_stderr()
            logs.show_stacks_on_signal()
            # Spark ends this process by SIGTERM and does not call stop().
            with contextlib.suppress(ValueError):  # not the main thread: a test drives the reader
                signal.signal(signal.SIGTERM, self._terminated)
            self._inbox = Inbox(
                self._queue_url,
                capacity=self._paced_events,
                visibility_timeout_seconds=self._visibility,
                receivers=self._receivers,
                is_ours=self._is_ours,
            )
        return self._inbox

    def _is_ours(self, event: ObjectEvent) -> bool:
        return self._bucket in (None, event.bucket) and event.key.startswith(self._prefix)

    def _terminated(self, _signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Spark sends it twice
        signal.alarm(GOODBYE_SECONDS)  # kills the process, whatever hangs
        # Not in this thread: the signal may have met it holding a lock that stop() needs.
        _thread.start_new_thread(self._end, ())

    def _end(self) -> None:
        self.stop()
        logs.flush()
        os._exit(0)


def _whole(
    options: MutableMapping[str, str], name: str, default: int, *, least: int = 1, most: int
) -> int:
    raw = options.get(name)
    if raw is None:
        return default
    if not raw.isdecimal() or not least <= int(raw) <= most:
        raise ValueError(
            f"s3-sqs option {name} = {raw!r}: should be a whole number from {least} to {most}"
        )
    return int(raw)
