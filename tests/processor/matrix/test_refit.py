"""Refits: when they are due and why, what they read, and how far they move."""

import pickle
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import boto3
import numpy as np
import pytest
from pyspark.sql import SparkSession

from common.layout import StoreLayout
from processor.matrix import models, refit, statistics_cache
from processor.matrix.matrix import Matrix, Update
from processor.matrix.moments import Statistics
from processor.matrix.refit_policy import RefitPolicy
from processor.store import delta, objects
from tests.support.drawn_photos import photo
from tests.support.feature_files import commit_features, features_table
from tests.support.in_process import InThisProcess
from tests.support.matrices import assert_whole, matrix, put
from tests.support.spectra import sample
from tests.support.world import World


def test_refits_on_demand_and_when_due(world: World, spark: SparkSession) -> None:
    put(world, *range(6))
    matrix(world, spark).update()
    forced = matrix(world, spark).update(force=True)
    assert forced
    assert forced.refit == "on demand"
    assert matrix(world, spark).update() is None
    put(world, 6, 7)
    for policy, reason in (
        (RefitPolicy(components=3, growth_photos=2), "photos has changed by 2 since the fit"),
        (RefitPolicy(components=2), "configuration changed"),
    ):
        update = matrix(world, spark, policy).update()
        assert update
        assert reason in (update.refit or "")
        assert_whole(world)
    put(world, 8)
    grown = matrix(world, spark, RefitPolicy(components=2, growth_share=0.1)).update()
    assert grown
    assert "12.5%" in (grown.refit or "")
    put(world, 9)
    assert (
        matrix(world, spark, RefitPolicy(components=2, interval_seconds=3600)).update().refit
        is None
    )
    put(world, 10)
    old = matrix(world, spark, RefitPolicy(components=2, interval_seconds=1))
    while True:  # until the fit is a second old
        update = old.update()
        if update and update.refit:
            assert "s old" in update.refit
            return
        put(world, 11)


def test_components_that_no_longer_fit_are_refitted(world: World, spark: SparkSession) -> None:
    put(world, *range(12))

    def update(least_captured: float) -> Update | None:
        policy = RefitPolicy(components=3, least_captured=least_captured)
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
    assert "of the variance that as many could capture" in (strict.refit or "")
    assert_whole(world)


def test_a_refit_records_how_far_the_components_moved(world: World, spark: SparkSession) -> None:
    def about() -> Mapping[str, str]:
        table = delta.open_table(f"s3://{world.bucket}/reduced")
        assert table
        (name,) = {path.partition("/")[0] for path in table.paths()}
        model = models.read(world.recipe.layout.store, name)
        assert model
        return model.pca.about

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
    read_files: list[set[str]] = []
    of_files = statistics_cache.statistics

    def spy(
        layout: StoreLayout, live: Collection[str], read: statistics_cache.Reader
    ) -> Statistics | None:
        def reading(paths: Collection[str]) -> Statistics | None:
            read_files.append(set(paths))
            return read(paths)

        return of_files(layout, live, reading)

    monkeypatch.setattr(statistics_cache, "statistics", spy)

    def live() -> set[str]:
        table = delta.open_table(f"s3://{world.bucket}/features")
        assert table
        return table.paths()

    put(world, *range(6))
    put(world, *range(6, 20))
    reduced = matrix(world, spark)
    reduced.update()
    before = live()
    assert read_files == [before]
    put(world, 20)
    world.handle(world.put("photos/L1/1.jpg", photo(50)), world.remove("photos/L2/2.jpg"))
    reduced.update(force=True)
    assert read_files[1:] == [before - live(), live() - before]
    cached = statistics_cache.load(world.recipe.layout.store)
    assert cached
    assert cached.files == live()
    rows = np.array([row["features"] for row in world.features().values()], np.float64)
    np.testing.assert_allclose(cached.statistics.mean, rows.mean(axis=0), rtol=1e-6)
    centred = rows - rows.mean(axis=0)
    scatter = centred.T @ centred
    tolerance = 1e-6 * np.abs(scatter).max()
    np.testing.assert_allclose(cached.statistics.scatter, scatter, atol=tolerance)
    assert_whole(world)


class CountingBytes(InThisProcess):
    """Tasks in this process, whose results a real one would send through Spark's JVM."""

    def __init__(self) -> None:
        self.results: list[int] = []

    def run(self, items: Sequence, work: Callable[[Iterable], Iterable]) -> list:
        found = [each for item in items for each in work(iter([item]))]  # a task for each file
        self.results.append(len(pickle.dumps(found)))
        return found


def test_no_matrix_goes_through_spark(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4,096 columns each is 128 MiB, and the JVM's heap has 1 GB for those of all tasks."""
    monkeypatch.setattr(refit, "SMALL_BYTES", 0)
    monkeypatch.setattr(refit, "MANY_COLUMNS", 64)
    layout = StoreLayout(f"s3://{bucket}/")
    parts = [sample(200, 0.9 ** np.arange(64), seed=n) for n in range(6)]
    commit_features(layout, *map(features_table, parts))
    tasks = CountingBytes()
    assert Matrix(layout, RefitPolicy(components=2), tasks).update()
    assert len(tasks.results) == 3  # statistics, fit, projection
    assert max(tasks.results) < 400 * len(parts)  # names; the scatters are 32 KB each
    cached = statistics_cache.load(layout)
    assert cached
    wanted = Statistics.of(np.concatenate(parts)).scatter
    np.testing.assert_allclose(cached.statistics.scatter, wanted, atol=1e-5 * wanted.max())
    assert not list(objects.listing(layout.partial_results))


def test_photos_unlike_the_fitted_ones_cause_a_refit(world: World, spark: SparkSession) -> None:
    put(world, *range(12))
    calm = RefitPolicy(components=3, most_residual=1000.0)
    matrix(world, spark, calm).update()
    world.handle(*(world.put(f"photos/odd/{n}.jpg", photo(n, size=(8, 300))) for n in range(6)))
    update = matrix(world, spark, calm).update()
    assert update
    assert (update.projected, update.refit) == (6, None)
    strict = RefitPolicy(components=3, most_residual=0.001)
    update = matrix(
        world, spark, strict
    ).update()  # another service: it reads the figure in the log
    assert update
    assert "times the mean squared residual of the fitted ones" in (update.refit or "")
    assert matrix(world, spark, strict).update() is None
    assert_whole(world)


def test_a_share_of_variance_and_whitening(world: World, spark: SparkSession) -> None:
    put(world, *range(12))
    matrix(world, spark, RefitPolicy(components=0.5, whiten=True)).update()
    rows = assert_whole(world)
    columns = [name for name in next(iter(rows.values())) if name.startswith("pc")]
    values = np.array([[row[column] for column in columns] for row in rows.values()])
    np.testing.assert_allclose(values.std(axis=0, ddof=1), 1.0, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_photos_than_components(world: World, spark: SparkSession, count: int) -> None:
    put(world, *range(count))
    matrix(world, spark).update()
    assert len(assert_whole(world)) == count


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
