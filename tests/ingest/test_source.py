"""The source: its reader driven by hand, then as Spark drives it, stops it and has it killed."""

import contextlib
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, astuple
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxFiles,
    ReadMaxRows,
)
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from infra_scripts.embedded import EmbeddedAws
from ingest import queue, source
from ingest.events import ObjectEvent, message
from ingest.queue import QueueError
from ingest.source import SCHEMA, S3SqsDataSource, S3SqsStreamReader
from tests.aws import DeployedStack
from tests.ingest.test_queue import counts, receive, send, send_bodies, stop_soon, until

ROOT = Path(__file__).resolve().parents[2]
START = {"messages": 0}
ALL = ReadAllAvailable()
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
EVENTS = [
    ObjectEvent("b", "a b+c%.jpg", None, None, None, "ObjectRemoved:Delete", NOON, None),
    ObjectEvent(
        "b", "🍎", "v1", "e", 0, "ObjectCreated:Put", NOON + timedelta(microseconds=1), "0A"
    ),
    ObjectEvent(
        "c", "d", "v2", "f", 2**63 - 1, "ObjectCreated:Copy", NOON.replace(year=1970), "FF"
    ),
]
ODD_KEYS = [
    f"photos/{name}"
    for name in (
        "plain.jpg",
        "with space.jpg",
        "with+plus.jpg",
        "100%.jpg",
        "%2B.jpg",
        "a:b.jpg",
        'it\'s "quoted".jpg',
        "🍎/ü.jpg",
        "u\u0308.jpg",
        "a&b=c?d#e;f,g\\h.jpg",
        "x" * (1024 - len("photos/.jpg")) + ".jpg",
    )
]

Opened = Callable[..., S3SqsStreamReader]


@pytest.fixture
def opened(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Makes readers of the stack's queue, to be driven as Spark drives them."""
    monkeypatch.setattr(queue, "LONG_POLL_SECONDS", 1)
    handler = signal.getsignal(signal.SIGTERM)
    with ExitStack() as ending:

        def open_reader(**options: Any) -> S3SqsStreamReader:
            given = {"queueUrl": stack.queue_url, "receivers": 2, **options}
            reader = S3SqsStreamReader({name: str(value) for name, value in given.items()})
            ending.callback(stop_reader, stack, reader)
            return reader

        yield open_reader
    signal.signal(signal.SIGTERM, handler)


def stop_reader(stack: DeployedStack, reader: S3SqsStreamReader) -> None:
    if reader._inbox:
        stop_soon(stack, reader._inbox)


def plan(
    reader: S3SqsStreamReader, start: dict[str, int], limit: ReadLimit = ALL
) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
    """One micro-batch: its end, and its rows."""
    end = reader.latestOffset(start, limit)
    return end, rows_between(reader, start, end)


def rows_between(
    reader: S3SqsStreamReader, start: dict[str, int], end: dict[str, int]
) -> list[tuple[Any, ...]]:
    return [row for each in reader.partitions(start, end) for row in reader.read(each)]


def plan_all(reader: S3SqsStreamReader, messages: int) -> list[tuple[Any, ...]]:
    """The rows of so many messages that nobody has acknowledged."""
    until(lambda: reader.latestOffset(START, ALL)["messages"] == messages)
    return rows_between(reader, START, {"messages": messages})


def keys(rows: Any) -> list[str]:
    return sorted(row[1] for row in rows)


# The reader by itself


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, 'needs .option("queueUrl", …)'),
        ({"queueUrl": ""}, 'needs .option("queueUrl", …)'),
        ({"maxFilesPerTrigger": "0"}, "maxFilesPerTrigger = '0': should be a whole number from 1"),
        ({"maxFilesPerTrigger": "1e3"}, "maxFilesPerTrigger = '1e3': should be a whole number"),
        ({"maxFilesPerTrigger": "100001"}, "should be a whole number from 1 to 100000"),
        ({"maxBytesPerTrigger": "-1"}, "maxBytesPerTrigger = '-1': should be a whole number"),
        ({"maxBytesPerTrigger": "1GB"}, "maxBytesPerTrigger = '1GB': should be a whole number"),
        ({"visibilityTimeoutSeconds": "43201"}, "should be a whole number from 1 to 43200"),
        ({"receivers": "many"}, "receivers = 'many': should be a whole number from 1 to 64"),
        ({"receivers": ""}, "receivers = '': should be a whole number"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], said: str) -> None:
    given = options if "queueUrl" in said else {"queueUrl": "u", **options}
    with pytest.raises(ValueError, match="s3-sqs") as caught:
        S3SqsStreamReader(given)
    assert said in str(caught.value)


def test_limit_and_start_that_spark_is_told(opened: Opened) -> None:
    assert opened().getDefaultReadLimit() == ReadMaxFiles(1000)
    assert opened(maxFilesPerTrigger=7).getDefaultReadLimit() == ReadMaxFiles(7)
    assert opened().initialOffset() == START


def test_rows_are_the_events(stack: DeployedStack, opened: Opened) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    send_bodies(stack, message(EVENTS))
    end, rows = plan(opened(), START)
    assert end == {"messages": 1}
    assert [row[:8] for row in rows] == [astuple(event) for event in EVENTS]
    ((message_id, sent_at, receive_count),) = {row[8:] for row in rows}
    assert message_id
    assert before < sent_at < datetime.now(UTC) + timedelta(minutes=1)
    assert receive_count == 1


def test_acknowledges_up_to_the_start_of_the_next_plan(
    stack: DeployedStack, opened: Opened
) -> None:
    send(stack, *(f"k{n}" for n in range(6)))
    reader = opened(maxFilesPerTrigger=4)
    first, rows = plan(reader, START, ReadMaxFiles(4))
    assert counts(stack) == (0, 6)
    reader.commit(first)
    second, more = plan(reader, first, ReadMaxFiles(4))
    assert counts(stack) == (0, 6 - len(rows))
    assert rows_between(reader, first, second) == more  # may be planned again
    while len(rows) + len(more) < 6:
        second, some = plan(reader, second)
        more += some
    assert keys(rows + more) == [f"k{n}" for n in range(6)]
    assert reader.latestOffset(second, ALL) == second
    assert counts(stack) == (0, 0)
    assert rows_between(reader, first, second) == []


@pytest.mark.parametrize(
    ("limit", "files"),
    [
        (ReadMaxFiles(3), 3),
        (ReadMaxRows(4), 4),
        (ReadMaxBytes(250), 2),
        (ReadAllAvailable(), 9),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keeps_to_the_limit(
    stack: DeployedStack, opened: Opened, limit: ReadLimit, files: int
) -> None:
    send(stack, *(f"k{n}" for n in range(9)), size=100)
    reader = opened(maxFilesPerTrigger=5, maxBytesPerTrigger=600, receivers=1)
    inbox = reader._open()
    until(lambda: len(inbox._ready) == 9)
    assert reader.latestOffset(START, limit) == {"messages": files}


def test_bytes_limit_every_batch(stack: DeployedStack, opened: Opened) -> None:
    send(stack, *(f"k{n}" for n in range(9)), size=100)
    reader = opened(maxBytesPerTrigger=250)
    inbox = reader._open()
    until(lambda: len(inbox._ready) == 9)
    assert reader.latestOffset(START, reader.getDefaultReadLimit()) == {"messages": 2}


def test_a_batch_is_cut_to_the_time_it_may_take(
    stack: DeployedStack, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "FIRST_FILES", 4)
    monkeypatch.setattr(queue, "LINGER_SECONDS", 0.0)
    send(stack, *(f"k{n}" for n in range(40)))
    reader = opened(maxSecondsPerTrigger=1)
    inbox = reader._open()
    until(lambda: len(inbox._ready) == 40)
    limit = reader.getDefaultReadLimit()
    first = reader.latestOffset(START, limit)
    assert first == {"messages": 4}  # no rate to judge by
    assert inbox.capacity == 8
    time.sleep(0.4)  # 4 files in 0.4 s: at most 10 in a second
    second = reader.latestOffset(first, limit)
    assert 4 <= second["messages"] - first["messages"] <= 10
    time.sleep(4)  # slower than the least
    third = reader.latestOffset(second, limit)
    assert third["messages"] - second["messages"] == 4
    fourth = reader.latestOffset(third, limit)  # at once: as many as there are
    assert fourth == {"messages": 40}
    assert inbox.capacity == 2000


def test_nothing_there(opened: Opened) -> None:
    reader = opened()
    assert plan(reader, {"messages": 41}) == ({"messages": 41}, [])


def test_a_range_of_an_earlier_process_is_empty(stack: DeployedStack, opened: Opened) -> None:
    send(stack, "a")
    reader = opened()
    assert rows_between(reader, START, {"messages": 57}) == []
    end, rows = plan(reader, {"messages": 57})
    assert (end, keys(rows)) == ({"messages": 58}, ["a"])
    assert rows_between(reader, START, end) == rows
    assert counts(stack) == (0, 1)


def test_a_plan_repeated_loses_nothing(stack: DeployedStack, opened: Opened) -> None:
    send(stack, "a")
    reader = opened()
    assert reader.latestOffset(START, ALL) == {"messages": 1}
    send(stack, "b")
    rows = plan_all(reader, 2)
    assert keys(rows) == ["a", "b"]
    reader.latestOffset({"messages": 2}, ALL)
    assert counts(stack) == (0, 0)


def test_pickles_without_what_it_holds(stack: DeployedStack, opened: Opened) -> None:
    reader = opened(maxFilesPerTrigger=5)
    assert pickle.loads(pickle.dumps(reader)).getDefaultReadLimit() == ReadMaxFiles(5)
    send_bodies(stack, message(EVENTS))
    end = reader.latestOffset(START, ALL)
    (partition,) = reader.partitions(START, end)
    copy, part = pickle.loads(pickle.dumps((reader, partition)))
    assert list(copy.read(part)) == list(reader.read(partition))
    assert len(pickle.dumps(reader)) < 1000
    copy.stop()
    assert counts(stack) == (0, 1)


def test_available_now_waits_for_what_another_consumer_holds(
    stack: DeployedStack, opened: Opened
) -> None:
    send(stack, "a")
    assert receive(stack, 5, hidden=2)
    reader = opened()
    reader.prepareForTriggerAvailableNow()
    end, rows = plan(reader, START)
    assert keys(rows) == ["a"]
    assert reader.latestOffset(end, ALL) == end
    assert counts(stack) == (0, 0)


def test_a_queue_that_cannot_be_used(stack: DeployedStack, opened: Opened) -> None:
    reader = opened(queueUrl=f"{stack.queue_url}-missing")
    reader.prepareForTriggerAvailableNow()
    with pytest.raises(QueueError, match="does not exist"):
        plan(reader, START)
    reader.stop()


def test_stop_gives_everything_back(stack: DeployedStack, opened: Opened) -> None:
    send(stack, "a", "b")
    reader = opened()
    reader.stop()  # nothing to stop yet
    plan_all(reader, 2)
    reader.stop()
    assert counts(stack) == (2, 0)
    reader.stop()


HOLDING = """
import os, signal, sys, time
from pyspark.sql.streaming.datasource import ReadMaxFiles
from ingest.source import S3SqsStreamReader
reader = S3SqsStreamReader({"queueUrl": sys.argv[1]})
reader.latestOffset({"messages": 0}, ReadMaxFiles(3))
while len(reader._inbox._held) < 15:
    time.sleep(0.02)
with reader._inbox._changed:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
time.sleep(600)
"""


def test_sigterm_while_a_lock_is_held(aws: EmbeddedAws, stack: DeployedStack) -> None:
    send(stack, *(f"k{n}" for n in range(15)))
    ended = subprocess.run(
        [sys.executable, "-c", HOLDING, stack.queue_url], cwd=ROOT, timeout=60, check=False
    )
    assert ended.returncode == 0
    assert counts(stack) == (15, 0)


WAITING = """
import sys
from pyspark.sql.streaming.datasource import ReadMaxFiles
from ingest.source import S3SqsStreamReader
reader = S3SqsStreamReader({"queueUrl": sys.argv[1]})
reader.prepareForTriggerAvailableNow()
print("waiting", flush=True)
reader.latestOffset({"messages": 0}, ReadMaxFiles(3))
print("returned", flush=True)
sys.stdout.close()
reader.stop()
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def test_available_now_does_not_outlive_a_killed_parent(
    aws: EmbeddedAws, stack: DeployedStack
) -> None:
    send(stack, "a")
    assert receive(stack, 5, hidden=600)  # so that there is something to wait for
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, WAITING, stack.queue_url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "waiting\n"
        (child,) = psutil.Process(parent.pid).children()
        try:
            time.sleep(2)
            assert child.is_running()
            parent.kill()
            until(lambda: parent.stdout and parent.stdout.readline() == "returned\n", seconds=20)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


# The reader in Spark's hands


class Batches:
    """What a query's micro-batches held; ``meet`` is called before one ends."""

    def __init__(self, meet: Callable[[], None] = lambda: None) -> None:
        self.rows: list[list[Row]] = []
        self.meet = meet

    def __call__(self, frame: DataFrame, number: int) -> None:
        rows = frame.selectExpr("*", "unix_micros(event_time) as micros").collect()
        self.meet()
        self.rows.append(rows)

    @property
    def keys(self) -> list[str]:
        return sorted(row["key"] for rows in self.rows for row in rows)


Started = Callable[..., StreamingQuery]


@pytest.fixture
def started(spark: SparkSession, stack: DeployedStack, tmp_path: Path) -> Iterator[Started]:
    """Starts queries on the stack's queue, one after the other from the same checkpoint."""
    spark.dataSource.register(S3SqsDataSource)
    with ExitStack() as ending:

        def start(batches: Batches, *, once: bool = True, **options: Any) -> StreamingQuery:
            given = {"queueUrl": stack.queue_url, **options}
            events = spark.readStream.format("s3-sqs").options(**given).load()
            writer = events.writeStream.foreachBatch(batches)
            writer = writer.option("checkpointLocation", (tmp_path / "checkpoint").as_uri())
            query = (writer.trigger(availableNow=True) if once else writer).start()
            ending.callback(query.stop)
            return query

        yield start


def wait_for(query: StreamingQuery) -> None:
    """Until the query has ended; raises what ended it."""
    assert query.awaitTermination(120)


def source_processes() -> set[psutil.Process]:
    """Those in which Spark plans streaming queries of Python sources."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "pyspark.sql.streaming.python_streaming_source_runner" in process.cmdline():
                found.add(process)
    return found


def test_schema(spark: SparkSession, stack: DeployedStack) -> None:
    spark.dataSource.register(S3SqsDataSource)
    events = spark.readStream.format("s3-sqs").option("queueUrl", stack.queue_url).load()
    assert events.schema == StructType.fromDDL(SCHEMA)
    assert events.isStreaming


def test_spark_gets_every_event_and_drains_the_queue(
    stack: DeployedStack, started: Started
) -> None:
    """Those of a killed consumer, too; in small batches, of which the last is acknowledged, too."""
    etags = {key: stack.put(key, b"x" * n).strip('"') for n, key in enumerate(ODD_KEYS)}
    killed = receive(stack, 5, hidden=5)
    stack.s3.delete_object(Bucket=stack.bucket, Key=ODD_KEYS[1])
    names = [f"k{n:02}" for n in range(12)]
    send(stack, *names)
    send_bodies(stack, message(EVENTS))
    batches = Batches()
    wait_for(started(batches, maxFilesPerTrigger=8))

    assert counts(stack) == (0, 0)
    assert batches.keys == sorted([*ODD_KEYS, ODD_KEYS[1], *names, *(e.key for e in EVENTS)])
    assert max(len(rows) for rows in batches.rows) <= 8
    rows = [row for rows in batches.rows for row in rows]
    ours = [row for row in rows if row["bucket"] == stack.bucket]
    (removed,) = [row for row in ours if row["event_name"].startswith("ObjectRemoved:")]
    assert removed["key"] == ODD_KEYS[1]
    ours.remove(removed)
    assert {row["key"]: row["etag"] for row in ours} == etags
    assert {row["key"]: row["size"] for row in ours} == {key: n for n, key in enumerate(ODD_KEYS)}
    again = {row["message_id"] for row in ours if row["receive_count"] == 2}
    assert again == {each["MessageId"] for each in killed}
    sent = {row["key"]: row.asDict() for row in rows}
    for event in EVENTS:
        expected = asdict(event)
        passed = expected.pop("event_time") - datetime.fromtimestamp(0, UTC)
        assert sent[event.key]["micros"] == passed // timedelta(microseconds=1)
        assert {name: sent[event.key][name] for name in expected} == expected


def test_a_failed_batch_is_not_acknowledged_and_the_checkpoint_is_good_for_a_restart(
    stack: DeployedStack, started: Started
) -> None:
    def fail() -> None:
        raise RuntimeError("the store is down")

    send(stack, "a", "b")
    with pytest.raises(StreamingQueryException, match="the store is down"):
        wait_for(started(Batches(fail)))
    assert until(lambda: counts(stack) == (2, 0))  # though 60 s have not passed
    batches = Batches()
    wait_for(started(batches))  # and Spark plans the failed batch again, whose messages it lost
    assert batches.keys == ["a", "b"]
    assert counts(stack) == (0, 0)
    send(stack, "c")
    wait_for(started(batches))
    assert batches.keys == ["a", "b", "c"]


def test_stop_in_the_middle_of_a_batch_gives_all_back(
    stack: DeployedStack, started: Started
) -> None:
    names = [f"k{n:02}" for n in range(25)]
    send(stack, *names)
    inside, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        inside.set()
        go_on.wait(60)

    before = source_processes()
    query = started(Batches(hold_up), once=False, maxFilesPerTrigger=10)
    assert inside.wait(60)
    until(lambda: counts(stack) == (0, 25))
    (process,) = source_processes() - before
    stop = threading.Thread(target=query.stop)
    stop.start()
    until(lambda: not query.isActive)
    go_on.set()  # Spark waits for the function; what it is in the middle of, is not acknowledged
    stop.join()
    until(lambda: counts(stack) == (25, 0), seconds=30)  # though 60 s have not passed
    psutil.wait_procs([process], timeout=20)
    assert not process.is_running()
    assert counts(stack) == (25, 0)


def test_what_a_killed_source_held_comes_back(stack: DeployedStack, started: Started) -> None:
    send(stack, *(f"k{n:02}" for n in range(25)))
    inside, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        inside.set()
        go_on.wait(60)

    before = source_processes()
    first = Batches(hold_up)
    options = {"maxFilesPerTrigger": 10, "visibilityTimeoutSeconds": 5}
    query = started(first, once=False, **options)
    assert inside.wait(60)
    (process,) = source_processes() - before
    assert process.parent().name() == "java"  # whose death it would notice
    process.kill()
    go_on.set()
    with pytest.raises(StreamingQueryException):
        wait_for(query)
    second = Batches()
    wait_for(started(second, **options))
    assert second.keys == [f"k{n:02}" for n in range(25)]  # nothing of the first was acknowledged
    assert set(first.keys) <= set(second.keys)
    assert counts(stack) == (0, 0)


def test_spark_tells_what_is_wrong(stack: DeployedStack, started: Started) -> None:
    with pytest.raises(Exception, match=r"receivers = '0': should be a whole number"):
        wait_for(started(Batches(), receivers=0))
    url = f"{stack.queue_url}-missing"
    with pytest.raises(StreamingQueryException, match="the queue does not exist: deploy it"):
        wait_for(started(Batches(), queueUrl=url))
