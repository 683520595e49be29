"""Maintenance: fewer files, the same rows whatever happens in between, no needed file deleted."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from pyspark.sql import SparkSession

from common.layout import BucketLayout, StoreLayout
from processor.errors import Unavailable
from processor.matrix import models, statistics_cache
from processor.matrix.mirror import model_name
from processor.matrix.refit_policy import RefitPolicy
from processor.pipeline.retries import Retries
from processor.service import maintenance as module
from processor.service.maintenance import Maintenance
from processor.spark.background import Background
from processor.store import compaction, datafiles, delta, patience
from processor.store.compaction import MERGED_AT_ONCE
from processor.store.schema import FEATURES, REJECTS
from tests.support.drawn_photos import photo
from tests.support.in_process import InThisProcess
from tests.support.matrices import assert_whole, matrix
from tests.support.traffic import refusal
from tests.support.world import World


def maintenance(world: World, spark: SparkSession) -> Maintenance:
    return Maintenance(
        world.recipe.layout.store,
        matrix(world, spark),
        Background(spark.sparkContext, 2),
        Retries(world.recipe.layout, lambda _: None),
        interval_seconds=0,
        retention_hours=168,
    )


def compact(world: World, spark: SparkSession) -> int:
    return maintenance(world, spark).compact(world.recipe.layout.store.features, FEATURES)


class Matrix:
    """Stands in for Matrix in tests of the thread; no test with it reaches a table."""

    def __init__(self) -> None:
        self.updates = 0
        self.updated = threading.Semaphore(0)
        self.during: Callable[[], object] = lambda: None

    def update(self, *, force: bool = False) -> None:
        self.updates += 1
        self.updated.release()
        self.during()


def thread_of(matrix: Matrix) -> Maintenance:
    nothing = SimpleNamespace(send_due=lambda: 0)
    return thread_with(matrix, nothing)


def thread_with(matrix: Matrix, retries: object) -> Maintenance:
    layout = StoreLayout("nowhere/")
    return Maintenance(
        layout, matrix, InThisProcess(), retries, interval_seconds=0, retention_hours=168
    )


def test_a_refit_on_demand_waits_out_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    fake = Matrix()

    def fail_once() -> None:
        if fake.updates == 1:
            raise Unavailable("503")

    fake.during = fail_once
    thread_of(fake).refit()
    assert fake.updates == 2


def test_photos_that_wait_are_tried_again_although_sqs_is_overloaded_at_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    tries: list[list[str]] = []

    def send(bodies: list[str]) -> None:
        tries.append(bodies)
        if len(tries) == 1:
            raise refusal("RequestThrottled")

    retries = Retries(world.recipe.layout, send)
    store, layout = InThisProcess(), world.recipe.layout.store
    Maintenance(layout, Matrix(), store, retries, interval_seconds=0, retention_hours=168).retry()
    assert len(tries) == 2


def test_a_fault_that_passes_costs_a_step_a_moment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    fake = Matrix()

    def fail_once() -> None:
        if fake.updates == 1:
            raise refusal("SlowDown")

    fake.during = fail_once
    keeper = thread_of(fake)
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert "Traceback" not in caplog.text


def test_what_is_due_is_tried_again_as_it_starts() -> None:
    """A service that is often restarted would not come to it otherwise."""
    retried = threading.Semaphore(0)
    keeper = thread_with(Matrix(), SimpleNamespace(send_due=retried.release))
    keeper.start()
    assert retried.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert not retried.acquire(blocking=False)


@pytest.mark.parametrize("code", ["NoSuchBucket", "InvalidAccessKeyId", "SlowDown"])
def test_an_error_that_no_retry_mends_is_reported(code: str) -> None:
    fake = Matrix()

    def fail() -> None:
        raise refusal(code)

    fake.during = fail
    keeper = thread_of(fake)
    keeper.check()
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    if code != "SlowDown":
        keeper.join(30)
        with pytest.raises(ClientError, match=code):
            keeper.check()
    keeper.stop()
    keeper.join(30)
    if code == "SlowDown":
        keeper.check()


def test_the_matrix_follows_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Matrix()
    keeper = thread_of(fake)
    keeper.start()
    for _ in range(3):
        keeper.wake()
        assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    assert fake.updates == 3  # and none for being stopped


def test_after_a_stop_a_failed_step_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """As when systemd has ended the JVM together with us."""
    fake, stopped = Matrix(), threading.Event()

    def fail() -> None:
        stopped.wait(30)
        raise RuntimeError("the JVM is gone")

    fake.during = fail
    keeper = thread_of(fake)
    keeper.start()
    keeper.wake()
    assert fake.updated.acquire(timeout=30)
    keeper.stop()
    stopped.set()
    keeper.join(30)
    assert fake.updates == 1
    assert caplog.records == []


def test_a_failed_step_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    fake = Matrix()
    keeper = thread_of(fake)

    def fail_once() -> None:
        if fake.updates == 1:
            raise RuntimeError("a full disk")

    fake.during = fail_once
    keeper.start()
    for _ in range(2):
        keeper.wake()
        assert fake.updated.acquire(timeout=30)
    keeper.stop()
    keeper.join(30)
    (record,) = caplog.records
    assert "trying again" in record.message
    assert "a full disk" in caplog.text


def test_a_step_that_always_fails_does_not_keep_others_from_being_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service may not send messages, say."""
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    fake, retries = Matrix(), Retries(BucketLayout("nowhere"), lambda _: None)

    def denied() -> int:
        raise refusal("AccessDenied")

    monkeypatch.setattr(retries, "send_due", denied)
    keeper = Maintenance(
        StoreLayout("nowhere/"),
        fake,
        InThisProcess(),
        retries,
        interval_seconds=0,
        retention_hours=168,
    )
    keeper.start()
    assert fake.updated.acquire(timeout=10)
    keeper.check()
    keeper.stop()
    keeper.join(30)


def test_stopped_before_it_started() -> None:
    keeper = thread_of(Matrix())
    keeper.stop()
    keeper.join(0)


def put_in_many_files(world: World, count: int) -> None:
    for n in range(count):
        world.handle(world.put(f"photos/L{n % 2}/{n}.jpg", photo(n)))


def live_files(world: World, name: str = "features") -> set[str]:
    table = delta.open_table(f"s3://{world.bucket}/{name}")
    assert table
    return table.paths()


def test_small_files_are_compacted_and_nothing_else_changes(
    world: World, spark: SparkSession
) -> None:
    put_in_many_files(world, 2 * MERGED_AT_ONCE + 1)
    reduced = matrix(world, spark)
    reduced.update()
    before, matrix_before = world.features(), assert_whole(world)
    assert compact(world, spark) == 2 * MERGED_AT_ONCE
    assert len(live_files(world)) == 3
    assert world.features() == before
    cached = statistics_cache.load(world.recipe.layout.store)
    assert cached
    assert cached.files == live_files(world)  # a fit would read nothing
    reduced.update()
    assert assert_whole(world).keys() == matrix_before.keys()
    assert len(live_files(world, "reduced")) == 3
    assert compact(world, spark) == 0
    computed = len(world.computed)
    again = [world.event(f"photos/L{n % 2}/{n}.jpg", "ObjectCreated:Put", None, 1) for n in (0, 1)]
    world.handle(*again)
    assert len(world.computed) == computed  # the index knows where the rows are now
    world.handle(world.put("photos/L0/0.jpg", photo(50)), world.remove("photos/L1/1.jpg"))
    world.assert_exactly_the_live_photos()


def test_compaction_is_not_a_reason_to_refit(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, MERGED_AT_ONCE)
    reduced = matrix(world, spark, RefitPolicy(components=3, interval_seconds=1))
    reduced.update()
    time.sleep(1)
    assert compact(world, spark) == MERGED_AT_ONCE
    merged = reduced.update()
    assert merged
    assert (merged.projected, merged.refit) == (MERGED_AT_ONCE, None)
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    assert table.vacuum(0) == MERGED_AT_ONCE
    assert reduced.update() is None
    world.handle(world.put("photos/L0/bad.jpg", b"no photo"))  # commits, without a row
    rejected = reduced.update()
    assert rejected
    assert (rejected.projected, rejected.refit) == (0, None)
    world.handle(world.put("photos/L0/0.jpg", photo(50)))  # as many photos as before
    replaced = reduced.update()
    assert replaced
    assert "s old" in (replaced.refit or "")
    assert_whole(world)


def test_a_photo_replaced_during_a_compaction_is_not_brought_back(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_many_files(world, 2 * MERGED_AT_ONCE)
    swap = compaction._swap
    replaced = "photos/L0/0.jpg"

    def late(*arguments):
        world.handle(world.put(replaced, photo(50)))
        return swap(*arguments)

    monkeypatch.setattr(compaction, "_swap", late)
    assert compact(world, spark) == MERGED_AT_ONCE  # the other group
    world.assert_exactly_the_live_photos()


def test_compaction_races_with_ingestion(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, MERGED_AT_ONCE)
    ended = threading.Event()
    faults: list[Exception] = []
    merged: list[int] = []

    def keep_compacting() -> None:
        try:
            while not ended.is_set():
                merged.append(compact(world, spark))
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=keep_compacting)
    thread.start()
    for n in range(500):
        world.handle(world.put(f"photos/new/{n}.jpg", photo(100 + n)))
        if n % 4 == 0:
            old = n // 4 % MERGED_AT_ONCE
            world.handle(world.put(f"photos/L{old % 2}/{old}.jpg", photo(200 + n)))
        if n >= 12 and sum(merged) >= 2 * MERGED_AT_ONCE:
            break
    ended.set()
    thread.join()
    assert not faults
    world.assert_exactly_the_live_photos()
    assert sum(merged) >= 2 * MERGED_AT_ONCE


def test_rejects_are_compacted_too(world: World, spark: SparkSession) -> None:
    for n in range(MERGED_AT_ONCE):
        world.handle(world.put(f"photos/{n}.jpg", b"bad"))
    before = world.rejects()
    assert (
        maintenance(world, spark).compact(world.recipe.layout.store.rejects, REJECTS)
        == MERGED_AT_ONCE
    )
    assert world.rejects() == before
    world.handle(world.put("photos/0.jpg", photo(1)))
    assert len(world.rejects()) == MERGED_AT_ONCE - 1


def test_vacuum_deletes_what_no_version_needs(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, MERGED_AT_ONCE)
    orphan = datafiles.write(f"s3://{world.bucket}/features", one_row(world))
    old = live_files(world)
    compact(world, spark)
    before = world.features()
    maintenance(world, spark).clean()
    assert old | {orphan.path} <= objects(world)  # within the retention
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    assert table.vacuum(0) == len(old) + 1
    assert objects(world) == live_files(world)
    assert world.features() == before


def test_nothing_to_do(world: World, spark: SparkSession) -> None:
    maintenance(world, spark).clean()
    assert compact(world, spark) == 0


def one_row(world: World):
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    return datafiles.read(f"s3://{world.bucket}/features", min(table.paths()))


def objects(world: World) -> set[str]:
    """The Parquet files in the features' folder."""
    listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="features/")["Contents"]
    names = {each["Key"].removeprefix("features/") for each in listed}
    return {name for name in names if name.endswith(".parquet")}


def test_the_matrix_keeps_its_model_when_old_ones_are_swept(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.recipe.layout.store
    world.handle(*(world.put(f"photos/L/{n}.jpg", photo(n)) for n in range(4)))
    reduced = matrix(world, spark)
    for _ in range(2):
        reduced.update(force=True)
        time.sleep(1.0)  # S3 tells when an object was written to the second
    assert len(list(objects_of(world, "models/pca/"))) == 2
    maintenance(world, spark).clean()
    assert len(list(objects_of(world, "models/pca/"))) == 2  # within the 30 days
    sweep = models.sweep
    monkeypatch.setattr(
        models, "sweep", lambda layout, current: sweep(layout, current, timedelta(0))
    )
    maintenance(world, spark).clean()
    table = delta.open_table(store.reduced)
    assert table
    (left,) = objects_of(world, "models/pca/")
    assert left == f"models/pca/{model_name(table)}.npz"


def objects_of(world: World, prefix: str) -> list[str]:
    listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=prefix)["Contents"]
    return [each["Key"] for each in listed]
