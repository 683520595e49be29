"""The source's reader, driven by hand as Spark drives it."""

import pickle
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql.datasource import InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxFiles,
    ReadMaxRows,
)

from ingest.events import message
from ingest.queue import QueueError
from ingest.source import FIRST_EVENTS, S3SqsStreamReader
from tests.support.aws import DeployedStack
from tests.support.object_events import event
from tests.support.traffic import EVENTS, counts, receive, send, send_bodies, stop_soon, until

START = {"messages": 0}
ALL = ReadAllAvailable()

OpenReader = Callable[..., S3SqsStreamReader]


@pytest.fixture
def open_reader(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenReader]:
    """Makes readers of the stack's queue, to be driven as Spark drives them."""
    monkeypatch.setattr("ingest.inbox.LONG_POLL_SECONDS", 1)
    monkeypatch.setattr("ingest.inbox.LOADED_POLL_SECONDS", 0)
    handler = signal.getsignal(signal.SIGTERM)
    with ExitStack() as ending:

        def make(**options: Any) -> S3SqsStreamReader:
            given = {"queueUrl": stack.queue_url, "receivers": 2, **options}
            reader = S3SqsStreamReader({name: str(value) for name, value in given.items()})
            ending.callback(stop_reader, stack, reader)
            return reader

        yield make
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
    """The rows of as many messages, none of them acknowledged yet."""
    until(lambda: reader.latestOffset(START, ALL)["messages"] == messages)
    return rows_between(reader, START, {"messages": messages})


def keys(rows: Any) -> list[str]:
    return sorted(row[1] for row in rows)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, 'needs .option("queueUrl", …)'),
        ({"queueUrl": ""}, 'needs .option("queueUrl", …)'),
        ({"maxFilesPerTrigger": "0"}, "maxFilesPerTrigger = '0': should be a whole number from 1"),
        ({"maxFilesPerTrigger": "1e3"}, "maxFilesPerTrigger = '1e3': should be a whole number"),
        ({"maxFilesPerTrigger": "100001"}, "should be a whole number from 1 to 100000"),
        ({"maxBytesPerTrigger": "-1"}, "maxBytesPerTrigger = '-1': should be a whole number"),
        ({"maxBytesPerTrigger": "1GB"}, "maxBytesPerTrigger = '1GB': should be a whole number"),
        ({"maxTriggerDelaySeconds": "301"}, "should be a whole number from 0 to 300"),
        ({"maxTriggerDelaySeconds": "0.5"}, "maxTriggerDelaySeconds = '0.5': should be a whole"),
        ({"visibilityTimeoutSeconds": "43201"}, "should be a whole number from 1 to 43200"),
        ({"receivers": "many"}, "receivers = 'many': should be a whole number from 1 to 64"),
        ({"receivers": ""}, "receivers = '': should be a whole number"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], problem: str) -> None:
    given = options if "queueUrl" in problem else {"queueUrl": "u", **options}
    with pytest.raises(ValueError, match="s3-sqs") as caught:
        S3SqsStreamReader(given)
    assert problem in str(caught.value)


def test_default_limit_and_initial_offset(open_reader: OpenReader) -> None:
    assert open_reader().getDefaultReadLimit() == ReadMaxFiles(1000)
    assert open_reader(maxFilesPerTrigger=7).getDefaultReadLimit() == ReadMaxFiles(7)
    assert open_reader().initialOffset() == START


def test_rows_are_the_events(stack: DeployedStack, open_reader: OpenReader) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    send_bodies(stack, message(EVENTS))
    end, rows = plan(open_reader(), START)
    assert end == {"messages": 1}
    assert [row[:8] for row in rows] == [astuple(event) for event in EVENTS]
    ((message_id, sent_at, receive_count),) = {row[8:] for row in rows}
    assert message_id
    assert before < sent_at < datetime.now(UTC) + timedelta(minutes=1)
    assert receive_count == 1


def test_acknowledges_up_to_the_start_of_the_next_plan(
    stack: DeployedStack, open_reader: OpenReader
) -> None:
    send(stack, *(f"k{n}" for n in range(6)))
    reader = open_reader(maxFilesPerTrigger=4)
    first, rows = plan(reader, START, ReadMaxFiles(4))
    until(lambda: counts(stack) == (0, 6))  # the next micro-batch is received while this one runs
    reader.commit(first)
    second, more = plan(reader, first, ReadMaxFiles(4))
    until(lambda: counts(stack) == (0, 6 - len(rows)))
    assert rows_between(reader, first, second) == more  # may be planned again
    while len(rows) + len(more) < 6:
        second, some = plan(reader, second)
        more += some
    assert keys(rows + more) == [f"k{n}" for n in range(6)]
    assert reader.latestOffset(second, ALL) == second
    until(lambda: counts(stack) == (0, 0))
    assert rows_between(reader, first, second) == []


@pytest.mark.parametrize(
    ("limit", "messages"),
    [
        (ReadMaxFiles(3), 3),
        (ReadMaxRows(4), 4),
        (ReadMaxBytes(250), 2),
        (ReadAllAvailable(), 5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_keeps_to_the_limit(
    stack: DeployedStack, open_reader: OpenReader, limit: ReadLimit, messages: int
) -> None:
    send(stack, *(f"k{n}" for n in range(9)), size=100)
    reader = open_reader(maxFilesPerTrigger=5, maxBytesPerTrigger=450, receivers=1)
    inbox = reader._open()
    until(lambda: len(inbox._ready) == 5)
    assert reader.latestOffset(START, limit) == {"messages": messages}


def test_bytes_limit_every_batch(stack: DeployedStack, open_reader: OpenReader) -> None:
    send(stack, *(f"k{n}" for n in range(9)), size=100)
    reader = open_reader(maxBytesPerTrigger=250)
    inbox = reader._open()
    until(lambda: len(inbox._ready) == 9)
    assert reader.latestOffset(START, reader.getDefaultReadLimit()) == {"messages": 2}


def test_a_batch_is_cut_to_the_time_it_may_take(
    stack: DeployedStack, open_reader: OpenReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr("ingest.source.time", clock)
    monkeypatch.setattr("ingest.source.FIRST_EVENTS", 4)
    monkeypatch.setattr("ingest.source.LEAST_EVENTS", 3)
    send(stack, *(f"k{n}" for n in range(40)))
    reader = open_reader(maxSecondsPerTrigger=1)
    inbox = reader._open()
    until(lambda: len(inbox._ready) == 4)
    limit = reader.getDefaultReadLimit()
    first = reader.latestOffset(START, limit)
    assert first == {"messages": 4}  # no rate to judge by
    assert inbox.capacity == 4
    passed[0] += 0.4  # 4 events in 0.4 s: at most 10 in a second
    second = reader.latestOffset(first, limit)
    assert 4 <= second["messages"] - first["messages"] <= 10
    passed[0] += 4  # slower than the least
    third = reader.latestOffset(second, limit)
    assert third["messages"] - second["messages"] == 3
    until(lambda: reader.latestOffset(third, limit) == {"messages": 40})  # at once: all there are
    assert inbox.capacity == 1000


def planned(reader: S3SqsStreamReader, start: dict[str, int]) -> tuple[dict[str, int], float]:
    """The end of the next micro-batch, and the seconds until it was planned."""
    began = time.monotonic()
    end = until(lambda: (found := reader.latestOffset(start, ALL)) != start and found)
    return end, time.monotonic() - began


def test_a_micro_batch_waits_for_more_after_the_one_before_it(
    stack: DeployedStack, open_reader: OpenReader
) -> None:
    """Longer than a plan may take, and than its messages are invisible without being renewed."""
    reader = open_reader(maxTriggerDelaySeconds=6, visibilityTimeoutSeconds=2, maxFilesPerTrigger=4)
    send(stack, "a")
    first, seconds = planned(reader, START)
    assert seconds < 5  # nothing was before it
    send(stack, "b")
    inbox = reader._open()
    until(lambda: inbox._ready)
    assert reader.latestOffset(first, ALL) == first  # not yet; an idle query is seen to be alive
    send(stack, "c")
    second, seconds = planned(reader, first)
    assert 1 < seconds < 6
    rows = rows_between(reader, first, second)
    assert keys(rows) == ["b", "c"]
    assert [row[-1] for row in rows] == [1, 1]  # received once
    send(stack, *"defg")  # a full one
    third, seconds = planned(reader, second)
    assert seconds < 5
    assert keys(rows_between(reader, second, third)) == list("defg")


def test_what_waits_for_more_is_given_back(stack: DeployedStack, open_reader: OpenReader) -> None:
    reader = open_reader(maxTriggerDelaySeconds=300)
    send(stack, "a")
    first, _ = planned(reader, START)
    send(stack, "b")
    until(lambda: counts(stack) == (0, 2))
    assert reader.latestOffset(first, ALL) == first  # acknowledges "a"
    until(lambda: counts(stack) == (0, 1))
    reader.stop()
    assert counts(stack) == (1, 0)


def test_nothing_waits_for_more_where_the_queue_is_drained(
    stack: DeployedStack, open_reader: OpenReader
) -> None:
    reader = open_reader(maxTriggerDelaySeconds=300)
    reader.prepareForTriggerAvailableNow()
    end = START
    for name in "ab":
        send(stack, name)
        end, seconds = planned(reader, end)
        assert seconds < 30
    assert reader.latestOffset(end, ALL) == end
    assert counts(stack) == (0, 0)


def test_no_more_is_received_than_the_next_batch_needs(
    stack: DeployedStack, open_reader: OpenReader
) -> None:
    """Because every stop costs each of these messages a receive."""
    send(stack, *(f"k{n}" for n in range(80)))
    reader = open_reader(maxFilesPerTrigger=60, maxSecondsPerTrigger=20, receivers=4)
    first = reader.latestOffset(START, reader.getDefaultReadLimit())
    assert first == {"messages": FIRST_EVENTS}
    until(lambda: len(reader._open()._ready) == FIRST_EVENTS)
    time.sleep(0.3)  # for polls under way
    assert counts(stack) == (80 - 2 * FIRST_EVENTS, 2 * FIRST_EVENTS)


def test_nothing_there(open_reader: OpenReader) -> None:
    reader = open_reader()
    assert plan(reader, {"messages": 41}) == ({"messages": 41}, [])


def test_a_range_of_an_earlier_process_is_empty(
    stack: DeployedStack, open_reader: OpenReader
) -> None:
    send(stack, "a")
    reader = open_reader()
    assert rows_between(reader, START, {"messages": 57}) == []
    end, rows = plan(reader, {"messages": 57})
    assert (end, keys(rows)) == ({"messages": 58}, ["a"])
    assert rows_between(reader, START, end) == rows
    assert counts(stack) == (0, 1)


def test_a_plan_repeated_loses_nothing(stack: DeployedStack, open_reader: OpenReader) -> None:
    send(stack, "a")
    reader = open_reader()
    assert reader.latestOffset(START, ALL) == {"messages": 1}
    send(stack, "b")
    rows = plan_all(reader, 2)
    assert keys(rows) == ["a", "b"]
    reader.latestOffset({"messages": 2}, ALL)
    assert counts(stack) == (0, 0)


def test_pickles_without_what_it_holds(stack: DeployedStack, open_reader: OpenReader) -> None:
    reader = open_reader(maxFilesPerTrigger=5)
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
    stack: DeployedStack, open_reader: OpenReader
) -> None:
    send(stack, "a")
    assert receive(stack, 5, hidden=2)
    reader = open_reader()
    reader.prepareForTriggerAvailableNow()
    end, rows = plan(reader, START)
    assert keys(rows) == ["a"]
    assert reader.latestOffset(end, ALL) == end
    assert counts(stack) == (0, 0)


def test_a_queue_that_cannot_be_used(stack: DeployedStack, open_reader: OpenReader) -> None:
    reader = open_reader(queueUrl=f"{stack.queue_url}-missing")
    reader.prepareForTriggerAvailableNow()
    with pytest.raises(QueueError, match="does not exist"):
        plan(reader, START)
    reader.stop()


def test_reads_only_its_own_partitions(open_reader: OpenReader) -> None:
    with pytest.raises(TypeError, match="not a partition of this source"):
        open_reader().read(InputPartition(0))


def test_stop_gives_everything_back(stack: DeployedStack, open_reader: OpenReader) -> None:
    send(stack, "a", "b")
    reader = open_reader()
    reader.stop()  # nothing to stop yet
    plan_all(reader, 2)
    reader.stop()
    assert counts(stack) == (2, 0)
    reader.stop()


def test_foreign_messages_are_left_for_the_dead_letter_queue(
    stack: DeployedStack, open_reader: OpenReader, caplog: pytest.LogCaptureFixture
) -> None:
    """A typo in the prefix must not lose what is queued."""
    reader = open_reader(bucket="b", prefix="photos/")
    others = [event("fotos/a.jpg"), event("photos/b.jpg", bucket="b2")]
    send_bodies(stack, *(message([each]) for each in others))
    send_bodies(stack, message([event("photos/c.jpg"), others[0]]))  # no message is split
    send(stack, "photos/d.jpg")
    rows = plan_all(reader, 2)
    assert keys(rows) == ["fotos/a.jpg", "photos/c.jpg", "photos/d.jpg"]
    until(lambda: counts(stack, stack.dead_letter_queue_url)[0] == 2)
    _, more = plan(reader, {"messages": 2})
    assert more == []
    until(lambda: counts(stack) == (0, 0))
    assert "'s3://b/fotos/a.jpg' is not one of the objects that are processed here" in caplog.text
    found = stack.sqs.receive_message(QueueUrl=stack.dead_letter_queue_url, MaxNumberOfMessages=10)[
        "Messages"
    ]
    assert {each["Body"] for each in found} == {message([each]) for each in others}
