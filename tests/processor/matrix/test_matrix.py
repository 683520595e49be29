"""The reduced matrix: promise 4, against the embedded AWS and in Spark tasks."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from sklearn.decomposition import PCA as SklearnPCA

from common.layout import StoreLayout
from processor.matrix import refit, tasks
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.matrix.snapshot import FeaturesSnapshot
from processor.matrix.tasks import Projected
from processor.store.lease import Lease
from tests.support.drawn_photos import photo
from tests.support.feature_files import commit_features, features_table
from tests.support.in_process import InThisProcess
from tests.support.matrices import NEVER, assert_csv_whole, assert_whole, matrix, put
from tests.support.spectra import geometric, sample
from tests.support.world import World


def test_without_features_there_is_nothing_to_do(world: World, spark: SparkSession) -> None:
    assert matrix(world, spark).update(force=True) is None


@pytest.mark.parametrize("small_bytes", [0, refit.SMALL_BYTES])  # in Spark tasks, or the driver
def test_first_update_fits_like_scikit_learn(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    monkeypatch.setattr(refit, "SMALL_BYTES", small_bytes)
    put(world, *range(20))
    reduced = matrix(world, spark)
    update = reduced.update()
    assert update
    assert (update.projected, update.refit, update.drift) == (20, "no model", None)
    assert reduced.state
    assert (reduced.state.features_version, reduced.state.files) == (update.features_version, 1)
    assert reduced.state.bytes > 20 * 4 * 512
    assert datetime.now(UTC) - reduced.state.fitted_at < timedelta(minutes=5)
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


def test_refits_ingestion_and_readers_at_once(world: World, spark: SparkSession) -> None:
    """Readers only ever see whole versions, and no photo added during a rewrite is lost."""
    put(world, *range(4))
    reduced = matrix(world, spark)
    reduced.update()
    reduced.export()
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

    def export() -> None:
        while not ended.wait(0.05):
            reduced.export()

    exporter = watched(export)
    reader, ingestion = watched(read), watched(ingest)
    refits = 0
    while ingestion.is_alive() or refits < 3:
        update = reduced.update(force=refits % 2 == 0)
        refits += 1 if update is None or update.refit else 0
    ingestion.join()
    reduced.update()
    ended.set()
    reader.join()
    exporter.join()
    assert not faults, faults
    assert len({frozenset(keys) for keys in seen}) > 2
    assert set(assert_whole(world)) == set(world.features())


def test_two_services_keep_one_matrix(world: World, spark: SparkSession) -> None:
    put(world, *range(6))
    one, two = matrix(world, spark), matrix(world, spark)
    one.update()
    two.update(force=True)
    put(world, 7)
    one.update()
    two.update()
    assert set(assert_whole(world)) == set(world.features())


def two_with_a_refit_due(world: World, spark: SparkSession) -> tuple[Matrix, Matrix]:
    """Of two services; the first has made the matrix."""
    policy = RefitPolicy(components=3, growth_photos=3)
    put(world, *range(6))
    one, two = matrix(world, spark, policy), matrix(world, spark, policy)
    one.update()
    put(world, 6, 7, 8)
    return one, two


def test_one_service_refits_at_a_time(
    world: World, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    """The other brings new photos into the matrix, with the model that it has."""
    one, two = two_with_a_refit_due(world, spark)
    caplog.set_level(logging.INFO)
    with Lease(world.recipe.layout.store.refit_lease).held() as ours:
        assert ours
        update = two.update()
    assert update
    assert (update.projected, update.refit) == (3, None)
    assert any("another service is at it" in line for line in caplog.messages)
    assert set(assert_whole(world)) == set(world.features())
    grown = two.update()
    assert grown
    assert grown.refit
    assert one.update() is None


def test_a_refit_that_another_service_has_just_made_is_not_made_again(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = two_with_a_refit_due(world, spark)
    take = Lease._take

    def late(lease: Lease) -> str | None:
        monkeypatch.setattr(Lease, "_take", take)
        other = one.update()
        assert other
        assert other.refit
        return take(lease)

    monkeypatch.setattr(Lease, "_take", late)
    assert two.update() is None


def test_commits_of_another_service_do_not_make_a_refit_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what it has added is projected then; at ten million rows all of it takes minutes."""
    layout = StoreLayout(f"{tmp_path}/")
    parts = [features_table(sample(9, geometric, seed=n), first=9 * n) for n in range(5)]
    later = [parts.pop(), parts.pop()]
    commit_features(layout, *parts)
    one, two = (Matrix(layout, NEVER, InThisProcess()) for _ in range(2))
    one.update()
    (old,) = (path.stem for path in Path(layout.pca_models).iterdir())
    project, projected = tasks.project, []

    def beaten(paths: Iterable[str], *call: Any, **named: Any) -> Iterator[Projected]:
        files, name = list(paths), call[2]
        if name != old:
            projected.append(len(files))
            if later:
                commit_features(layout, later.pop())
                one.update()
        return project(files, *call, **named)

    monkeypatch.setattr(tasks, "project", beaten)
    update = two.update(force=True)
    assert update
    assert (update.refit, update.projected) == ("on demand", 45)
    assert projected == [3, 1, 1]
    assert len(list(Path(layout.pca_models).iterdir())) == 2
    assert one.update() is None


def test_a_slower_service_does_not_take_the_matrix_back(
    world: World, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one mirrors newer features while it looks at older ones."""
    put(world, *range(4))
    one, other = matrix(world, spark), matrix(world, spark)
    one.update()
    newest = FeaturesSnapshot.newest

    def overtaken(layout: StoreLayout) -> FeaturesSnapshot | None:
        monkeypatch.setattr(FeaturesSnapshot, "newest", newest)
        put(world, 4)
        older = newest(layout)
        put(world, 5)
        assert other.update()
        return older

    monkeypatch.setattr(FeaturesSnapshot, "newest", overtaken)
    assert one.update() is None
    assert len(assert_whole(world)) == 6


def test_two_services_with_different_settings_do_not_refit_against_each_other(
    world: World, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that was started last decides; each applies its own settings once, at its start."""
    put(world, *range(6))
    one = matrix(world, spark, RefitPolicy(components=3, growth_photos=3))
    two = matrix(world, spark, RefitPolicy(components=2, whiten=True, growth_photos=3))
    caplog.set_level(logging.WARNING)
    reasons = [update.refit if (update := each.update()) else None for each in (one, two) * 4]
    assert reasons == [
        "no model",
        "configuration changed from 3, whiten False to 2, whiten True",
        *(None,) * 6,
    ]
    [warning] = [line for line in caplog.messages if "adopts" in line]
    assert "2, whiten True" in warning
    assert "3, whiten False" in warning
    put(world, 6, 7, 8)
    grown = one.update()  # a refit for another reason keeps the settings too
    assert grown
    assert grown.refit == "the number of photos has changed by 3 since the fit"
    assert grown.drift is not None
    assert 0 < grown.drift < 10
    assert two.update() is None
    assert len(next(iter(assert_whole(world).values()))) == len(("key", "label", "pc1", "pc2"))


def test_a_service_that_is_restarted_with_other_settings_refits(
    world: World, spark: SparkSession
) -> None:
    put(world, *range(6))
    for components in (3, 2, 3):
        restarted = matrix(world, spark, RefitPolicy(components=components))
        update = restarted.update()
        assert update
        assert update.refit
        assert restarted.update() is None
        assert len(next(iter(assert_whole(world).values()))) == 2 + components
