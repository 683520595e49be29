"""The reduced matrix: promise 4, against the embedded AWS and in Spark tasks."""

import csv
import io
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import boto3
import numpy as np
import pytest
from pyspark.sql import SparkSession
from sklearn.decomposition import PCA as SklearnPCA

from processor import known, models, reduce, tables
from processor.background import Background
from processor.due import Policy
from processor.moments import Statistics
from processor.network import NetworkSpec
from processor.reduce import Matrix, Update
from tests.processor.conftest import photo
from tests.processor.world import World

NEVER = Policy(3, whiten=False, interval_seconds=0, growth_photos=0, growth_share=0.0)


@pytest.fixture
def world(bucket: str, spec: NetworkSpec, tmp_path: Path) -> World:
    return World(bucket, spec, tmp_path)


def matrix(world: World, spark: SparkSession, policy: Policy = NEVER) -> Matrix:
    return Matrix(f"s3://{world.bucket}/", policy, Background(spark.sparkContext, 2))


def put(world: World, *numbers: int) -> None:
    world.handle(*(world.put(f"photos/L{n % 3}/{n}.jpg", photo(n)) for n in numbers))


def assert_whole(world: World) -> dict[str, dict]:
    """The keys are those of the features it names, the rows are of one model and exact."""
    reduced = tables.open_table(f"s3://{world.bucket}/reduced")
    assert reduced is not None
    version = reduced.transaction_version(reduce.MIRRORS)
    features = tables.open_table(f"s3://{world.bucket}/features", version)
    assert features is not None
    (name,) = {path.partition("/")[0] for path in tables.paths(reduced)}
    model = models.read(f"s3://{world.bucket}/", name)
    assert model is not None
    rows = {row["key"]: row for row in reduced.to_pyarrow_table().to_pylist()}
    source = features.to_pyarrow_table().to_pylist()
    assert len(source) == tables.rows(reduced) == len(rows)
    for row in source:
        expected = model.project(np.array([row["features"]], np.float32))[0]
        found = [rows[row["key"]][f"pc{n + 1}"] for n in range(len(expected))]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert rows[row["key"]]["label"] == row["label"]
    return rows


def assert_csv_whole(world: World) -> set[str]:
    """reduced.csv is exactly the version of the matrix that it names; its keys."""
    answer = world.s3.get_object(Bucket=world.bucket, Key="reduced.csv")
    about, text = answer["Metadata"], answer["Body"].read().decode()
    lines = {line["key"]: line for line in csv.DictReader(io.StringIO(text, newline=""))}
    table = tables.open_table(f"s3://{world.bucket}/reduced", int(about["reduced-version"]))
    assert table is not None
    assert about["model"] == reduce.model_name(table)
    assert about["features-version"] == str(table.transaction_version(reduce.MIRRORS))
    rows = table.to_pyarrow_table().to_pylist()
    assert len(rows) == len(lines)
    for row in rows:
        line = lines[row["key"]]
        assert line["label"] == (row["label"] or "")
        axes = [name for name in row if name.startswith("pc")]
        found = [float(line[axis]) for axis in axes]
        np.testing.assert_allclose(found, [row[axis] for axis in axes], rtol=1e-5, atol=1e-7)
    return set(lines)


def test_without_features_there_is_nothing_to_do(world: World, spark: SparkSession) -> None:
    assert matrix(world, spark).update(force=True) is None


@pytest.mark.parametrize("small_bytes", [0, reduce.SMALL_BYTES])  # by Spark tasks, or at once
def test_first_update_fits_like_scikit_learn(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    monkeypatch.setattr(reduce, "SMALL_BYTES", small_bytes)
    put(world, *range(20))
    update = matrix(world, spark).update()
    assert update
    assert (update.projected, update.refit) == (20, "no model")
    rows = assert_whole(world)
    features = world.features()
    keys = sorted(features)
    reference = SklearnPCA(3, svd_solver="full").fit_transform(
        np.array([features[key]["features"] for key in keys], np.float64)
    )
    ours = np.array([[rows[key][f"pc{n}"] for n in (1, 2, 3)] for key in keys])
    signs = np.sign((ours * reference).sum(axis=0))
    scale = np.abs(reference).max()
    np.testing.assert_allclose(ours, reference * signs, atol=1e-4 * scale)


def test_new_photos_are_projected_between_refits(world: World, spark: SparkSession) -> None:
    put(world, *range(8))
    reduced = matrix(world, spark)
    reduced.update()
    before = assert_whole(world)
    put(world, 8, 9)
    update = reduced.update()
    assert update
    assert (update.projected, update.refit) == (2, None)
    after = assert_whole(world)
    assert before.items() <= after.items()
    assert reduced.update() is None


def test_replaced_and_removed_photos_follow(world: World, spark: SparkSession) -> None:
    put(world, *range(8))
    reduced = matrix(world, spark)
    reduced.update()
    world.handle(
        world.put("photos/L1/1.jpg", photo(50)),
        world.remove("photos/L2/2.jpg"),
        world.put("photos/L0/3.jpg", b"bad"),
    )
    reduced.update()
    assert set(assert_whole(world)) == set(world.features())
    world.handle(*(world.remove(key) for key in world.features()))
    reduced.update()
    table = tables.open_table(f"s3://{world.bucket}/reduced")
    assert table
    assert tables.rows(table) == 0


def test_refits_when_asked_and_when_due(world: World, spark: SparkSession) -> None:
    put(world, *range(6))
    matrix(world, spark).update()
    asked = matrix(world, spark).update(force=True)
    assert asked
    assert asked.refit == "on demand"
    assert matrix(world, spark).update() is None
    put(world, 6, 7)
    for policy, reason in (
        (Policy(3, False, 0, 2, 0.0), "2 photos came or went"),
        (Policy(2, False, 0, 0, 0.0), "configuration changed"),
    ):
        update = matrix(world, spark, policy).update()
        assert update
        assert reason in (update.refit or "")
        assert_whole(world)
    put(world, 8)
    grown = matrix(world, spark, Policy(2, False, 0, 0, 0.1)).update()
    assert grown
    assert "12.5%" in (grown.refit or "")
    put(world, 9)
    assert matrix(world, spark, Policy(2, False, 3600, 0, 0.0)).update().refit is None
    put(world, 10)
    old = matrix(world, spark, Policy(2, False, 1, 0, 0.0))
    while True:  # the fit is a second old at most now
        update = old.update()
        if update and update.refit:
            assert "s old" in update.refit
            return
        put(world, 11)


def test_axes_that_no_longer_fit_are_refitted(world: World, spark: SparkSession) -> None:
    put(world, *range(12))

    def update(least_captured: float) -> Update | None:
        policy = Policy(3, False, 0, 0, 0.0, least_captured)
        return matrix(world, spark, policy).update()

    update(0.9999)
    assert update(0.9999) is None
    put(world, *range(12, 30))
    easy = update(0.01)
    assert easy
    assert easy.refit is None
    put(world, 30)
    strict = update(0.9999)
    assert strict
    assert "of the variance that as many could hold" in (strict.refit or "")
    assert_whole(world)


def test_a_refit_records_how_far_the_axes_moved(world: World, spark: SparkSession) -> None:
    def about() -> Mapping[str, str]:
        table = tables.open_table(f"s3://{world.bucket}/reduced")
        assert table
        (name,) = {path.partition("/")[0] for path in tables.paths(table)}
        model = models.read(f"s3://{world.bucket}/", name)
        assert model
        return model.about

    put(world, *range(12))
    reduced = matrix(world, spark)
    reduced.update()
    assert "drift_angle" not in about()
    reduced.update(force=True)
    assert float(about()["drift_angle"]) < 1e-6
    put(world, *range(12, 20))
    reduced.update(force=True)
    assert float(about()["drift_angle"]) > 1e-3
    assert float(about()["drift_movement"]) > 1e-3


def test_a_refit_reads_only_what_changed(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    of_files = known.statistics

    def spy(uri: str, live: Collection[str], read: known.Reader) -> Statistics | None:
        def reading(paths: Collection[str]) -> Statistics | None:
            asked.append(set(paths))
            return read(paths)

        return of_files(uri, live, reading)

    monkeypatch.setattr(known, "statistics", spy)

    def live() -> set[str]:
        table = tables.open_table(f"s3://{world.bucket}/features")
        assert table
        return tables.paths(table)

    put(world, *range(6))
    put(world, *range(6, 20))
    reduced = matrix(world, spark)
    reduced.update()
    before = live()
    assert asked == [before]
    put(world, 20)
    world.handle(world.put("photos/L1/1.jpg", photo(50)), world.remove("photos/L2/2.jpg"))
    reduced.update(force=True)
    assert asked[1:] == [before - live(), live() - before]
    kept = known.load(f"s3://{world.bucket}/")
    assert kept
    assert kept.files == live()
    rows = np.array([row["features"] for row in world.features().values()], np.float64)
    np.testing.assert_allclose(kept.statistics.mean, rows.mean(axis=0), rtol=1e-6)
    centred = rows - rows.mean(axis=0)
    scatter = centred.T @ centred
    np.testing.assert_allclose(kept.statistics.scatter, scatter, atol=1e-6 * np.abs(scatter).max())
    assert_whole(world)


def test_a_share_of_variance_and_whitening(world: World, spark: SparkSession) -> None:
    put(world, *range(12))
    matrix(world, spark, Policy(0.5, True, 0, 0, 0.0)).update()
    rows = assert_whole(world)
    axes = [name for name in next(iter(rows.values())) if name.startswith("pc")]
    values = np.array([[row[axis] for axis in axes] for row in rows.values()])
    np.testing.assert_allclose(values.std(axis=0, ddof=1), 1.0, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_photos_than_components(world: World, spark: SparkSession, count: int) -> None:
    put(world, *range(count))
    matrix(world, spark).update()
    assert len(assert_whole(world)) == count


def test_csv_has_the_rows_of_the_table(world: World, spark: SparkSession) -> None:
    key = 'photos/a "b",c/ü\n🍎.jpg'
    world.handle(world.put(key, photo(99)), world.put("photos/plain.jpg", photo(98)))
    put(world, *range(5))
    matrix(world, spark).update()
    assert assert_csv_whole(world) == set(assert_whole(world)) == set(world.features())


def test_a_csv_that_fell_behind_is_brought_up(world: World, spark: SparkSession) -> None:
    put(world, *range(5))
    matrix(world, spark).update()
    old = world.s3.get_object(Bucket=world.bucket, Key="reduced.csv")
    matrix(world, spark).update(force=True)
    world.s3.put_object(  # as if the refit had ended right after its commit
        Bucket=world.bucket, Key="reduced.csv", Body=old["Body"].read(), Metadata=old["Metadata"]
    )
    assert matrix(world, spark).update() is None
    assert_csv_whole(world)
    answer = world.s3.head_object(Bucket=world.bucket, Key="reduced.csv")
    table = tables.open_table(f"s3://{world.bucket}/reduced")
    assert table
    assert answer["Metadata"]["model"] == reduce.model_name(table) != old["Metadata"]["model"]


def test_photos_unlike_the_fitted_cause_a_refit(world: World, spark: SparkSession) -> None:
    put(world, *range(12))
    calm = Policy(3, False, 0, 0, 0.0, most_residual=1000.0)
    matrix(world, spark, calm).update()
    world.handle(*(world.put(f"photos/odd/{n}.jpg", photo(n, size=(8, 300))) for n in range(6)))
    update = matrix(world, spark, calm).update()
    assert update
    assert (update.projected, update.refit) == (6, None)
    strict = Policy(3, False, 0, 0, 0.0, most_residual=0.001)
    update = matrix(
        world, spark, strict
    ).update()  # another service: it reads the figure in the log
    assert update
    assert "times as far off the axes" in (update.refit or "")
    assert matrix(world, spark, strict).update() is None
    assert_whole(world)


def test_refits_ingestion_and_readers_at_once(world: World, spark: SparkSession) -> None:
    """Readers only ever see whole versions, and no photo that came during a rewrite is lost."""
    put(world, *range(4))
    reduced = matrix(world, spark)
    reduced.update()
    ended = threading.Event()
    seen: list[set[str]] = []
    faults: list[BaseException] = []

    def watched(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                faults.append(error)
                ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def read() -> None:
        while not ended.is_set():
            seen.append(set(assert_whole(world)))
            assert_csv_whole(world)

    def ingest() -> None:
        for n in range(4, 22):
            put(world, n)
            if n % 5 == 0:
                world.handle(world.put("photos/L1/1.jpg", photo(100 + n)))
                world.handle(world.remove(f"photos/L{(n - 2) % 3}/{n - 2}.jpg"))
            if ended.is_set():
                return

    reader, ingestion = watched(read), watched(ingest)
    refits = 0
    while ingestion.is_alive() or refits < 3:
        update = reduced.update(force=refits % 2 == 0)
        refits += 1 if update is None or update.refit else 0
    ingestion.join()
    reduced.update()
    ended.set()
    reader.join()
    assert not faults, faults
    assert len({frozenset(keys) for keys in seen}) > 2
    assert set(assert_whole(world)) == set(world.features())


def test_a_lost_model_is_fitted_again(world: World, spark: SparkSession) -> None:
    put(world, *range(5))
    matrix(world, spark).update()
    s3 = boto3.client("s3")
    for each in s3.list_objects_v2(Bucket=world.bucket, Prefix="models/")["Contents"]:
        s3.delete_object(Bucket=world.bucket, Key=each["Key"])
    update = matrix(world, spark).update()
    assert update
    assert update.refit == "no model"
    assert_whole(world)


def test_two_services_keep_one_matrix(world: World, spark: SparkSession) -> None:
    put(world, *range(6))
    one, two = matrix(world, spark), matrix(world, spark)
    one.update()
    two.update(force=True)
    put(world, 7)
    one.update()
    two.update()
    assert set(assert_whole(world)) == set(world.features())
