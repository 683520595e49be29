"""The runner: what it handles, what ends it, and how it stops. As a process: test_commands."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingest.events import ObjectEvent
from ingest.source import S3SqsDataSource
from processor.errors import ServiceError
from processor.service import runner
from processor.service.runner import ONCE_PATIENCE_SECONDS
from tests.support.object_events import event
from tests.support.running import Running
from tests.support.streams import Streaming
from tests.support.traffic import until

FIRST = [event("a", etag="1", size=3), event("b", event_name="ObjectRemoved:Delete")]
SECOND = [event("c", version_id="v", sequencer="0A")]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with ThreadPoolExecutor() as pool:
        around = Running(tmp_path, pool)
        yield around
        for service in around.services:
            service.stop()


def test_once_it_handles_what_is_there_refits_and_ends(running: Running) -> None:
    spark = Streaming(FIRST, SECOND)
    running.service(spark).run(once=True)
    assert running.batches.done == [(FIRST, 0), (SECOND, 1)]
    assert running.maintenance.calls == ["retry", "wake", "wake", "stop", "refit"]
    assert running.batches.patience == ONCE_PATIENCE_SECONDS


def test_a_fault_of_the_maintenance_ends_it(running: Running) -> None:
    running.maintenance.fault = KeyError("no bucket")
    _, run = running.start(Streaming())
    with pytest.raises(KeyError, match="no bucket"):
        run.result(30)


def test_the_query_reads_the_queue_within_the_limits(running: Running, tmp_path: Path) -> None:
    spark = Streaming()
    running.service(spark).run(once=True)
    assert spark.sources == [S3SqsDataSource]
    assert spark.options == {
        "queueUrl": "http://queue",
        "bucket": "b",
        "prefix": "photos/",
        "maxFilesPerTrigger": "7",
        "maxBytesPerTrigger": "8",
        "maxSecondsPerTrigger": "9",
        "maxTriggerDelaySeconds": "12",
        "visibilityTimeoutSeconds": "10",
        "receivers": "11",
        "checkpointLocation": f"file://{tmp_path}/a%20checkpoint",
    }


@pytest.mark.parametrize("once", [False, True])
def test_a_fault_of_a_micro_batch_is_what_run_raises(running: Running, once: bool) -> None:
    fault = KeyError("lost")
    running.batches.during = lambda: (_ for _ in ()).throw(fault)
    with pytest.raises(KeyError) as raised:
        running.service(Streaming(FIRST, SECOND)).run(once=once)
    assert raised.value is fault
    assert running.batches.begun == [0]
    assert running.batches.closed
    assert (
        running.maintenance.calls[-1] == "stop"
    )  # or what it then fails of would be logged as news
    assert "wake" not in running.maintenance.calls
    assert "refit" not in running.maintenance.calls


def test_a_fault_of_spark_comes_down_to_its_cause(running: Running) -> None:
    message = (
        "[STREAM_FAILED] Query failed\nTraceback (most recent call last):\n  File x\nKeyError: 'k'"
    )
    with pytest.raises(ServiceError, match=r"^KeyError: 'k'$"):
        running.service(Streaming(FIRST, fault=message)).run()
    assert len(running.batches.done) == 1


@pytest.mark.parametrize("once", [False, True])
def test_a_query_whose_process_starts_too_slowly_is_started_again(
    running: Running, once: bool
) -> None:
    """Spark gives it ten seconds; to end would only add load."""
    spark = Streaming(FIRST, late=runner.STARTS - 1)
    service, run = running.start(spark, once=once)
    until(lambda: running.batches.done)
    service.stop() if not once else None
    run.result(30)
    assert running.batches.done == [(FIRST, 0)]
    assert len(spark.listeners) == 1


def test_a_machine_that_is_always_too_slow_ends_it(running: Running) -> None:
    with pytest.raises(ServiceError, match="did not connect within 10 s"):
        running.service(Streaming(FIRST, late=runner.STARTS)).run()


def test_it_reconciles_while_it_runs_on(running: Running) -> None:
    running.service(Streaming(FIRST)).run(once=True)
    assert set(running.reconciler.calls) == {"stop"}
    service, run = running.start(Streaming(FIRST))
    until(lambda: "start" in running.reconciler.calls)
    service.stop()
    run.result(30)
    assert running.reconciler.calls[-1] == "stop"


def test_it_stops_once_the_running_micro_batch_is_durable(running: Running) -> None:
    durable = threading.Event()
    running.batches.during = durable.wait
    spark = Streaming(FIRST, SECOND)
    service, run = running.start(spark)
    until(lambda: running.batches.begun and "start" in running.maintenance.calls)
    service.stop()
    with pytest.raises(TimeoutError):
        run.result(0.2)
    assert spark.query
    assert not spark.query.stopped.is_set()
    durable.set()
    run.result(30)
    assert running.batches.done == [(FIRST, 0)]  # and none was begun after
    assert running.batches.closed
    assert spark.query.stopped.is_set()
    assert running.maintenance.calls == ["start", "stop", "wake", ("join", 60)]
    assert running.batches.stopped.is_set()


def test_the_watchdog_sees_micro_batches_and_plans(running: Running) -> None:
    spark = Streaming(FIRST, SECOND)
    service, run = running.start(spark)
    until(lambda: len(running.batches.done) == 2)
    service.stop()
    run.result(30)
    (listener,) = spark.listeners
    seen = running.watchdog.calls
    assert sorted(map(str, seen)) == sorted(
        ["start", *4 * ["progress"], "('stopping', 120)", "stop"]
    )
    listener.onQueryIdle(SimpleNamespace())
    listener.onQueryProgress(SimpleNamespace(progress=SimpleNamespace(json="{}")))
    assert seen[-2:] == ["progress", "progress"]


def test_metrics_are_emitted_while_it_runs_on(running: Running) -> None:
    running.service(Streaming()).run(once=True)
    assert set(running.metrics.calls) == {"stop"}
    spark = Streaming()
    service, run = running.start(spark)
    until(lambda: "start" in running.metrics.calls)
    running.metrics.is_alive = False
    spark.listeners[-1].onQueryIdle(SimpleNamespace())
    assert running.metrics.is_alive
    service.stop()
    run.result(30)
    assert running.metrics.calls[-1] == "stop"


def test_waiting_for_other_consumers_is_progress(running: Running) -> None:
    """With --once only; otherwise the query plans all the time."""
    emptied = threading.Event()
    spark = Streaming(until=emptied)
    _, run = running.start(spark, once=True)
    until(lambda: running.watchdog.calls.count("progress") > 2)
    emptied.set()
    run.result(30)


@pytest.mark.parametrize("once", [False, True])
def test_the_watchdog_ends_with_the_query(running: Running, once: bool) -> None:
    running.batches.during = lambda: (_ for _ in ()).throw(KeyError("lost"))
    with pytest.raises(KeyError):
        running.service(Streaming(FIRST)).run(once=once)
    assert running.watchdog.calls[-1] == "stop"


def test_a_micro_batch_that_fails_as_it_stops_is_redelivered(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """By systemd's SIGTERM to all processes, say."""

    def during() -> None:
        time.sleep(0.3)  # the runner waits for the query now
        running.services[-1].stop()
        raise ConnectionRefusedError("no JVM")

    running.batches.during = during
    running.service(Streaming(FIRST)).run()
    assert running.maintenance.calls[-1] == ("join", 60)
    assert "redelivered: ConnectionRefusedError: no JVM" in caplog.text


class Late(list[ObjectEvent]):
    """Events that come a moment after the micro-batch before them."""

    def __iter__(self) -> Iterator[ObjectEvent]:
        time.sleep(0.2)
        return super().__iter__()


def test_a_micro_batch_that_comes_as_it_stops_does_not_delay_it(running: Running) -> None:
    """Spark gives a query ten seconds to end, and none of them may be lost to our own lock."""
    durable = threading.Event()
    running.batches.during = durable.wait
    spark = Streaming(FIRST, Late(SECOND))
    service, run = running.start(spark)
    until(lambda: running.batches.begun)
    service.stop()
    time.sleep(0.3)  # the runner waits for the micro-batch now
    durable.set()
    query = until(lambda: spark.query)
    assert query.ended.wait(5)
    run.result(30)
    assert running.batches.done == [(FIRST, 0)]


def test_a_micro_batch_that_comes_as_it_stops_is_no_fault(running: Running) -> None:
    """Spark plans the next one before the service notices that it is to stop."""
    durable = threading.Event()
    running.batches.during = durable.wait
    service, run = running.start(Streaming(FIRST, SECOND))
    until(lambda: running.batches.begun)
    service.stop()
    durable.set()
    run.result(30)
    assert running.batches.done == [(FIRST, 0)]
    assert running.maintenance.calls[-1] == ("join", 60)


def test_it_waits_no_longer_than_the_grace_period(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    durable = threading.Event()
    running.batches.during = durable.wait
    running.grace = 0
    spark = Streaming(FIRST)
    service, run = running.start(spark)
    until(lambda: running.batches.begun)
    service.stop()
    run.result(30)
    assert spark.query
    assert spark.query.stopped.is_set()
    assert running.batches.done == []
    assert not running.batches.closed  # it is at work
    assert "not durable after 0 s" in caplog.text
    durable.set()


def test_what_is_checked_every_second_ends_it(running: Running) -> None:
    spark = Streaming()
    fault = ServiceError("its folder is gone")
    with pytest.raises(ServiceError) as raised:
        running.service(spark).run(check=lambda: (_ for _ in ()).throw(fault))
    assert raised.value is fault
    assert running.batches.closed


def test_stopping_before_the_queue_is_drained_is_an_error(running: Running) -> None:
    durable = threading.Event()
    running.batches.during = durable.wait
    service, run = running.start(Streaming(FIRST, SECOND), once=True)
    until(lambda: running.batches.begun)
    service.stop()
    durable.set()
    with pytest.raises(ServiceError, match="stopped before the queue was drained; run it again"):
        run.result(30)
    assert "refit" not in running.maintenance.calls


def test_a_query_that_does_not_stop_is_left_to_the_end_of_the_process(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spark = Streaming()
    service, run = running.start(spark)
    query = until(lambda: spark.query)

    def stop() -> None:
        query.stopped.set()
        raise TimeoutError("no answer in 10 s")

    monkeypatch.setattr(query, "stop", stop)
    service.stop()
    run.result(30)
    assert "the query did not stop: no answer in 10 s" in caplog.text


def test_workers_are_kept_warm_while_no_photo_comes(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "WARM_SECONDS", 0.01)
    caplog.set_level(logging.WARNING)
    running.warming = lambda: (_ for _ in ()).throw(RuntimeError("no worker"))
    durable = threading.Event()
    running.batches.during = durable.wait
    spark = Streaming(FIRST)
    service, run = running.start(spark)
    until(lambda: running.batches.begun)
    durable.wait(0.1)
    durable.set()
    until(lambda: running.batches.done)
    many = len(running.warmed) + 3
    until(lambda: len(running.warmed) >= many)
    service.stop()
    run.result(30)
    assert not any(running.warmed[1:])  # the first may meet the first batch
    assert spark.pools == [("spark.scheduler.pool", "warm")]
    assert "the workers cannot be warmed up: no worker" in caplog.text
