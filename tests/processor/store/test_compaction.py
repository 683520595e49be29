"""Upkeep: fewer files with the same rows, whatever happens meanwhile, and nothing needed deleted."""

import threading
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from processor.matrix import models, statistics_cache
from processor.matrix.refit_policy import Policy
from processor.spark.background import Background
from processor.store import datafiles, delta
from processor.store.compaction import MERGED_AT_ONCE, TARGET_BYTES, Upkeep, groups_of
from processor.store.schema import FEATURES, REJECTS
from tests.processor.conftest import photo
from tests.support.matrices import assert_whole, matrix
from tests.support.world import World


def upkeep(world: World, spark: SparkSession) -> Upkeep:
    return Upkeep(f"s3://{world.bucket}/", 168, Background(spark.sparkContext, 2))


def put_in_many_files(world: World, count: int) -> None:
    for n in range(count):
        world.handle(world.put(f"photos/L{n % 2}/{n}.jpg", photo(n)))


def live_files(world: World, name: str = "features") -> set[str]:
    table = delta.open_table(f"s3://{world.bucket}/{name}")
    assert table
    return delta.paths(table)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(0, 2 * TARGET_BYTES), max_size=60))
def test_groups_are_full_alike_and_not_too_large(sizes: dict[str, int]) -> None:
    groups = groups_of(sizes)
    grouped = [path for group in groups for path in group]
    assert len(set(grouped)) == len(grouped)
    for group in groups:
        of = [max(1, sizes[path]) for path in group]
        assert len(group) == MERGED_AT_ONCE
        assert max(of) <= min(of) * MERGED_AT_ONCE
        assert sum(of) <= TARGET_BYTES


def test_small_files_are_merged_and_nothing_else_changes(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, 2 * MERGED_AT_ONCE + 1)
    reduced = matrix(world, spark)
    reduced.update()
    before, matrix_before = world.features(), assert_whole(world)
    assert upkeep(world, spark).compact("features", FEATURES) == 2 * MERGED_AT_ONCE
    assert len(live_files(world)) == 3
    assert world.features() == before
    kept = statistics_cache.load(f"s3://{world.bucket}/")
    assert kept
    assert kept.files == live_files(world)  # a fit would read nothing
    reduced.update()
    assert assert_whole(world).keys() == matrix_before.keys()
    assert len(live_files(world, "reduced")) == 3
    assert upkeep(world, spark).compact("features", FEATURES) == 0
    computed = len(world.computed)
    again = [world.event(f"photos/L{n % 2}/{n}.jpg", "ObjectCreated:Put", None, 1) for n in (0, 1)]
    world.handle(*again)
    assert len(world.computed) == computed  # the index knows where the rows are now
    world.handle(world.put("photos/L0/0.jpg", photo(50)), world.remove("photos/L1/1.jpg"))
    world.assert_exactly_the_live_photos()


def test_upkeep_is_no_reason_to_refit(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, MERGED_AT_ONCE)
    reduced = matrix(world, spark, Policy(3, False, 1, 0, 0.0))
    reduced.update()
    time.sleep(1)
    assert upkeep(world, spark).compact("features", FEATURES) == MERGED_AT_ONCE
    merged = reduced.update()
    assert merged
    assert (merged.projected, merged.refit) == (MERGED_AT_ONCE, None)
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    assert delta.vacuum(table, 0) == MERGED_AT_ONCE
    vacuumed = reduced.update()
    assert vacuumed
    assert (vacuumed.projected, vacuumed.refit) == (0, None)
    world.handle(world.put("photos/L0/bad.jpg", b"no photo"))  # commits, without a row
    rejected = reduced.update()
    assert rejected
    assert (rejected.projected, rejected.refit) == (0, None)
    world.handle(world.put("photos/L0/0.jpg", photo(50)))  # as many photos as before
    replaced = reduced.update()
    assert replaced
    assert "s old" in (replaced.refit or "")
    assert_whole(world)


def test_a_photo_replaced_meanwhile_is_not_brought_back(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_many_files(world, 2 * MERGED_AT_ONCE)
    swap = Upkeep._swap
    replaced = "photos/L0/0.jpg"

    def late(self: Upkeep, *arguments):
        world.handle(world.put(replaced, photo(50)))
        return swap(self, *arguments)

    monkeypatch.setattr(Upkeep, "_swap", late)
    assert upkeep(world, spark).compact("features", FEATURES) == MERGED_AT_ONCE  # the other group
    world.assert_exactly_the_live_photos()


def test_merging_races_with_ingestion(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, MERGED_AT_ONCE)
    ended = threading.Event()
    faults: list[Exception] = []
    merged: list[int] = []

    def tend() -> None:
        try:
            while not ended.is_set():
                merged.append(upkeep(world, spark).compact("features", FEATURES))
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=tend)
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


def test_rejects_are_merged_too(world: World, spark: SparkSession) -> None:
    for n in range(MERGED_AT_ONCE):
        world.handle(world.put(f"photos/{n}.jpg", b"bad"))
    before = world.rejects()
    assert upkeep(world, spark).compact("rejects", REJECTS) == MERGED_AT_ONCE
    assert world.rejects() == before
    world.handle(world.put("photos/0.jpg", photo(1)))
    assert len(world.rejects()) == MERGED_AT_ONCE - 1


def test_vacuum_deletes_what_no_version_needs(world: World, spark: SparkSession) -> None:
    put_in_many_files(world, MERGED_AT_ONCE)
    litter = datafiles.write(f"s3://{world.bucket}/features", one_row(world))
    old = live_files(world)
    upkeep(world, spark).compact("features", FEATURES)
    before = world.features()
    upkeep(world, spark).run()
    assert old | {litter.path} <= objects(world)  # within the retention
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    assert delta.vacuum(table, 0) == len(old) + 1
    assert objects(world) == live_files(world)
    assert world.features() == before


def test_models_replaced_long_ago_are_swept(world: World, spark: SparkSession) -> None:
    uri = f"s3://{world.bucket}/"

    def names() -> list[str]:
        listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="models/pca/")["Contents"]
        return [each["Key"].removeprefix("models/pca/").removesuffix(".npz") for each in listed]

    def wait_a_second() -> None:  # S3 tells when an object was written to the second
        time.sleep(1.0)

    put_in_many_files(world, 4)
    matrix(world, spark).update()
    (first,) = names()
    wait_a_second()
    matrix(world, spark).update(force=True)
    (second,) = set(names()) - {first}
    wait_a_second()
    model = models.read(uri, second)
    assert model
    models.write(uri, "interrupted", model)
    upkeep(world, spark).run()
    assert set(names()) == {first, second, "interrupted"}
    assert models.sweep(uri, second, timedelta(seconds=30)) == 0
    wait_a_second()
    assert models.sweep(uri, first, timedelta(0)) == 2  # whatever came when, the matrix's stays
    assert names() == [first]


def test_new_photos_stay_counted_over_a_vacuum(world: World, spark: SparkSession) -> None:
    def add(n: int) -> dict[str, str]:
        world.handle(world.put(f"photos/L0/{n}.jpg", photo(n)))
        matrix(world, spark).update()
        return newest_entry()

    def newest_entry() -> dict[str, str]:
        table = delta.open_table(f"s3://{world.bucket}/reduced")
        assert table
        return table.history(1)[0]

    put_in_many_files(world, 4)
    matrix(world, spark).update()
    assert add(4)["photos_since_fit"] == "1"
    datafiles.write(f"s3://{world.bucket}/reduced", one_row(world))
    table = delta.open_table(f"s3://{world.bucket}/reduced")
    assert table
    assert delta.vacuum(table, 0) == 1
    assert "VACUUM" in newest_entry()["operation"]
    assert add(5)["photos_since_fit"] == "2"


def test_nothing_to_tend(world: World, spark: SparkSession) -> None:
    upkeep(world, spark).run()
    assert upkeep(world, spark).compact("features", FEATURES) == 0


def one_row(world: World):
    table = delta.open_table(f"s3://{world.bucket}/features")
    assert table
    return datafiles.read(f"s3://{world.bucket}/features", min(delta.paths(table)))


def objects(world: World) -> set[str]:
    """Parquet files that lie in the features' folder."""
    listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="features/")["Contents"]
    names = {each["Key"].removeprefix("features/") for each in listed}
    return {name for name in names if name.endswith(".parquet")}
