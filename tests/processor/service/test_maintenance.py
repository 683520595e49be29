"""Maintenance: fewer files, the same rows whatever happens in between, no needed file deleted.

Its thread: test_maintenance_thread.
"""

import threading
import time
from datetime import timedelta

import pytest
from pyspark.sql import SparkSession

from processor.matrix import models, statistics_cache
from processor.matrix.mirror import model_name
from processor.matrix.refit_policy import RefitPolicy
from processor.pipeline.retries import Retries
from processor.service.maintenance import Maintenance
from processor.spark.background import Background
from processor.store import compaction, datafiles, delta
from processor.store.schema import FEATURES, REJECTS
from tests.support.drawn_photos import photo
from tests.support.matrices import assert_whole, matrix
from tests.support.world import World

SMALL_FILES = 8  # enough to be merged


def maintenance(world: World, spark: SparkSession) -> Maintenance:
    return Maintenance(
        world.recipe.layout.store,
        matrix(world, spark),
        Background(spark.sparkContext, lambda: 2),
        Retries(world.recipe.layout, lambda _: None),
        interval_seconds=0,
        retention_hours=168,
    )


def compact(world: World, spark: SparkSession) -> int:
    return maintenance(world, spark).compact(world.recipe.layout.store.features, FEATURES)


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
    put_in_many_files(world, SMALL_FILES)
    reduced = matrix(world, spark)
    reduced.update()
    before, matrix_before = world.features(), assert_whole(world)
    assert compact(world, spark) == SMALL_FILES
    assert len(live_files(world)) == 1
    assert world.features() == before
    cached = statistics_cache.load(world.recipe.layout.store)
    assert cached
    assert cached.files == live_files(world)  # a fit would read nothing
    assert assert_whole(world) == matrix_before
    assert len(live_files(world, "reduced")) == 1
    assert reduced.update() is None
    assert compact(world, spark) == 0
    computed = len(world.computed)
    again = [world.event(f"photos/L{n % 2}/{n}.jpg", "ObjectCreated:Put", None, 1) for n in (0, 1)]
    world.handle(*again)
    assert len(world.computed) == computed  # the index knows where the rows are now
    world.handle(world.put("photos/L0/0.jpg", photo(50)), world.remove("photos/L1/1.jpg"))
    world.assert_exactly_the_live_photos()


def test_compaction_is_not_a_reason_to_refit(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, SMALL_FILES)
    reduced = matrix(world, spark, RefitPolicy(components=3, interval_seconds=1))
    reduced.update()
    time.sleep(1)
    assert compact(world, spark) == SMALL_FILES
    assert reduced.update() is None  # the matrix has followed
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    assert table.vacuum(0) == SMALL_FILES  # and sets the retention, by a commit
    followed = reduced.update()
    assert followed
    assert (followed.projected, followed.refit) == (0, None)
    assert table.vacuum(0) == SMALL_FILES  # by the log; they are gone
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
    put_in_many_files(world, SMALL_FILES)
    commit = compaction._commit
    replaced = "photos/L0/0.jpg"

    def late(*arguments):
        world.handle(world.put(replaced, photo(50)))
        return commit(*arguments)

    monkeypatch.setattr(compaction, "_commit", late)
    assert compact(world, spark) == 0
    world.assert_exactly_the_live_photos()


def test_compaction_races_with_ingestion(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, SMALL_FILES)
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
        if (
            n & (n - 1) == 0
        ):  # ever more rarely, so that compaction wins at last, however slow it is
            old = n.bit_length() % SMALL_FILES
            world.handle(world.put(f"photos/L{old % 2}/{old}.jpg", photo(200 + n)))
        if n >= 12 and sum(merged) >= 2 * SMALL_FILES:
            break
    ended.set()
    thread.join()
    assert not faults
    world.assert_exactly_the_live_photos()
    assert sum(merged) >= 2 * SMALL_FILES


def test_rejects_are_compacted_too(world: World, spark: SparkSession) -> None:
    for n in range(SMALL_FILES):
        world.handle(world.put(f"photos/{n}.jpg", b"bad"))
    before = world.rejects()
    assert (
        maintenance(world, spark).compact(world.recipe.layout.store.rejects, REJECTS) == SMALL_FILES
    )
    assert world.rejects() == before
    world.handle(world.put("photos/0.jpg", photo(1)))
    assert len(world.rejects()) == SMALL_FILES - 1


def test_vacuum_deletes_what_no_version_needs(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, SMALL_FILES)
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
