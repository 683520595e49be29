"""The source as Spark drives it, stops it and kills it."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from ingest import records
from ingest.events import message
from ingest.source import S3SqsDataSource
from tests.support.aws import DeployedStack
from tests.support.traffic import EVENTS, counts, receive, send, send_bodies, until

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


class Batches:
    """The rows of a query's micro-batches; ``meet`` is called before each of them ends."""

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
    assert events.schema == StructType.fromDDL(records.SCHEMA)
    assert events.isStreaming


def test_spark_gets_every_event_and_drains_the_queue(
    stack: DeployedStack, started: Started
) -> None:
    """In small batches, with those that a killed consumer had received; acknowledges the last one."""
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
    sent = {row["key"]: row for row in rows}
    for event in EVENTS:
        passed = event.event_time - datetime.fromtimestamp(0, UTC)
        assert sent[event.key]["micros"] == passed // timedelta(microseconds=1)
        assert records.event(sent[event.key]) == event


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
    names = [f"k{n:02}" for n in range(20)]
    send(stack, *names)
    inside, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        inside.set()
        go_on.wait(60)

    before = source_processes()
    query = started(Batches(hold_up), once=False, maxFilesPerTrigger=10)
    assert inside.wait(60)
    until(lambda: counts(stack) == (0, 20))  # and as many ahead
    (process,) = source_processes() - before
    stop = threading.Thread(target=query.stop)
    stop.start()
    until(lambda: not query.isActive)
    go_on.set()  # Spark waits for the function, whose batch is not acknowledged
    stop.join()
    until(lambda: counts(stack) == (20, 0), seconds=30)  # though 60 s have not passed
    psutil.wait_procs([process], timeout=20)
    assert not process.is_running()
    assert counts(stack) == (20, 0)


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
    assert process.parent().name() == "java"  # the source would notice the death of this
    process.kill()
    go_on.set()
    with pytest.raises(StreamingQueryException):
        wait_for(query)
    second = Batches()
    wait_for(started(second, **options))
    assert second.keys == [f"k{n:02}" for n in range(25)]  # nothing of the first was acknowledged
    assert set(first.keys) <= set(second.keys)
    assert counts(stack) == (0, 0)


def test_what_waits_for_more_comes_back_when_its_source_is_killed(
    stack: DeployedStack, started: Started
) -> None:
    options = {"maxTriggerDelaySeconds": 300, "visibilityTimeoutSeconds": 2}
    before = source_processes()
    first = Batches()
    query = started(first, once=False, **options)
    send(stack, "a")
    until(lambda: first.keys == ["a"])
    send(stack, "b")
    until(lambda: counts(stack) == (0, 1))  # "a" is acknowledged, "b" waits for others
    (process,) = source_processes() - before
    process.kill()
    with pytest.raises(StreamingQueryException):
        wait_for(query)
    second = Batches()
    wait_for(started(second, **options))  # drains the queue, so nothing waits
    assert (first.keys, second.keys) == (["a"], ["b"])
    assert counts(stack) == (0, 0)


def test_spark_reports_what_is_wrong(stack: DeployedStack, started: Started) -> None:
    with pytest.raises(Exception, match=r"receivers = '0': should be a whole number"):
        wait_for(started(Batches(), receivers=0))
    url = f"{stack.queue_url}-missing"
    with pytest.raises(StreamingQueryException, match="the queue does not exist: deploy it"):
        wait_for(started(Batches(), queueUrl=url))
