"""The report: written once for each model, whole, of the matrix as it is; nothing harms the service."""

import io
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql import SparkSession

from processor.errors import ServiceError, StoreError
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.photos import objects as photos
from processor.report import map_file
from processor.report.points import Points
from processor.report.report import Report
from processor.report.summary import Summary
from processor.spark.background import Background
from processor.store import objects
from processor.store.lease import Lease
from tests.support.drawn_photos import photo
from tests.support.in_process import InThisProcess
from tests.support.reports import Deadly, memory, page, source
from tests.support.world import World

HOSTILE = ['<script>alert("x")</script>.jpg', "=1+2.jpg", "\x1b[31m\n🍎/</style>.jpg", "a b%20.jpg"]


def report_of(world: World) -> Report:
    return Report(world.recipe.layout.store, InThisProcess(), source(world.bucket), page)


def refitted(world: World) -> None:
    Matrix(world.recipe.layout.store, RefitPolicy(components=2), InThisProcess()).update(force=True)


def put(world: World, *names: str) -> None:
    world.handle(*(world.put(f"photos/{name}", photo(n)) for n, name in enumerate(names)))


def text(world: World) -> str | None:
    body = objects.get(world.recipe.layout.store.report_page)
    return body and body.decode()


def rows(world: World) -> list[dict]:
    body = objects.get(world.recipe.layout.store.report_map)
    assert body
    return pq.read_table(pa.BufferReader(body)).to_pylist()


def test_every_photo_is_on_it_whatever_its_name(world: World) -> None:
    put(world, *HOSTILE, "L/plain.jpg")
    refitted(world)
    report_of(world).update()
    assert text(world) == "5 photos, 5 points, 5 pictures"
    found = {row["key"]: row for row in rows(world)}
    assert found.keys() == world.features().keys()
    for key, row in world.features().items():
        assert (found[key]["version"], found[key]["label"]) == (row["version"], row["label"])
    thumbnails = map_file.thumbnails(objects.get(world.recipe.layout.store.report_map) or b"")
    assert {Image.open(io.BytesIO(each)).size for each in thumbnails.values()} == {(64, 48)}
    left = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="models/partial/")
    assert not left.get("Contents")


def test_it_is_written_once_for_each_model(world: World) -> None:
    report = report_of(world)
    report.update()
    assert text(world) is None  # without a matrix
    with pytest.raises(ServiceError, match="no matrix to report on"):
        report.write()
    put(world, "a.jpg", "b.jpg")
    refitted(world)
    report.update()
    store = world.recipe.layout.store
    about = objects.metadata(store.report_page)
    objects.upload(store.report_page, [b"by another"], "text/html", about)
    report_of(world).update()
    assert text(world) == "by another"
    folder, _, name = store.report_map.rpartition("/")
    objects.delete_all(folder, [name])
    report.update()
    assert text(world) == "2 photos, 2 points, 2 pictures"
    assert len(rows(world)) == 2
    refitted(world)
    report.update()
    assert text(world) == "2 photos, 2 points, 2 pictures"
    assert objects.metadata(store.report_page)["model"] != about["model"]


def test_a_photo_is_read_once_for_each_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get = photos.get
    monkeypatch.setattr(photos, "get", lambda b, key, most: asked.append(key) or get(b, key, most))
    put(world, "a.jpg", "b.jpg", "c.jpg")
    refitted(world)
    asked.clear()
    report_of(world).write()
    assert sorted(asked) == ["photos/a.jpg", "photos/b.jpg", "photos/c.jpg"]
    world.handle(world.put("photos/b.jpg", photo(9)), world.remove("photos/c.jpg"))
    refitted(world)
    asked.clear()
    report_of(world).write()
    assert asked == ["photos/b.jpg"]
    assert text(world) == "2 photos, 2 points, 2 pictures"


def test_photos_that_cannot_be_read_have_no_picture(world: World) -> None:
    put(world, "a.jpg", "b.jpg", "c.jpg")
    refitted(world)
    world.s3.delete_object(Bucket=world.bucket, Key="photos/a.jpg")
    world.s3.put_object(Bucket=world.bucket, Key="photos/b.jpg", Body=photo(8))
    report_of(world).update()
    assert text(world) == "3 photos, 3 points, 1 pictures"
    assert [bool(row["thumbnail"]) for row in rows(world)] == [False, False, True]


def test_into_a_folder(world: World, tmp_path: Path) -> None:
    put(world, "a.jpg", "b.jpg")
    refitted(world)
    where = report_of(world).write(tmp_path / "out")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "map.parquet",
        "report.html",
    ]
    assert pq.read_table(where.map).num_rows == 2
    assert text(world) is None


def test_one_service_writes_it_at_a_time(world: World) -> None:
    put(world, "a.jpg")
    refitted(world)
    report = report_of(world)
    with Lease(world.recipe.layout.store.report_lease).held() as ours:
        assert ours
        assert not report.update()
    assert text(world) is None
    assert report.update()
    assert text(world)


def test_an_old_one_that_was_written_over_a_new_one_does_not_stay(world: World) -> None:
    """Whoever is stopped for longer than its lease lasts comes too late."""
    put(world, "a.jpg")
    refitted(world)
    made: list[int] = []

    def slowly(summary: Summary, points: Points) -> str:
        made.append(summary.photos)
        if len(made) == 1:
            put(world, "b.jpg")
            refitted(world)
        return page(summary, points)

    store = world.recipe.layout.store
    assert Report(store, InThisProcess(), source(world.bucket), slowly).update()
    assert made == [1, 2]
    assert text(world) == "2 photos, 2 points, 2 pictures"
    assert len(rows(world)) == 2


def test_a_crash_between_map_and_page_is_mended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(world, "a.jpg")
    refitted(world)
    report_of(world).update()
    put(world, "b.jpg")
    refitted(world)

    def die(_summary: Summary, _points: object) -> str:
        raise SystemExit  # nothing catches it, like a death

    store = world.recipe.layout.store
    with pytest.raises(SystemExit):
        Report(store, InThisProcess(), source(world.bucket), die).update()
    assert text(world) == "1 photos, 1 points, 1 pictures"  # the old one, whole
    assert len(rows(world)) == 2  # the new one, whole
    monkeypatch.setattr(photos, "get", None)  # nor is a photo read again
    report_of(world).update()
    assert text(world) == "2 photos, 2 points, 2 pictures"


@pytest.mark.parametrize("name", ["report_page", "report_map"])
def test_what_somebody_else_has_there_is_left_alone(world: World, name: str) -> None:
    put(world, "a.jpg")
    refitted(world)
    place = getattr(world.recipe.layout.store, name)
    objects.put(place, b"my own report")
    with pytest.raises(StoreError, match="not a report of ours"):
        report_of(world).update()
    assert objects.get(place) == b"my own report"


def test_a_photo_that_kills_its_decoder_costs_its_own_picture(
    world: World, spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    put(world, *(f"{n}.jpg" for n in range(5)), "deadly.jpg")
    refitted(world)
    limits = source(world.bucket)
    deadly = Deadly(
        *(limits.bucket, limits.max_bytes, limits.max_pixels, limits.unsandboxed_heic, memory)
    )
    tasks = Background(spark.sparkContext, lambda: 2)
    with caplog.at_level(logging.WARNING):
        Report(world.recipe.layout.store, tasks, deadly, page).update()
    assert text(world) == "6 photos, 6 points, 5 pictures"
    (line,) = (each for each in caplog.records if "died over its thumbnail" in each.message)
    assert line.__dict__["key"] == "photos/deadly.jpg"
    assert spark.sparkContext.parallelize([1, 2], 2).sum() == 3


def test_of_a_large_store_a_sample_is_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.report.sample.MOST_PHOTOS", 3)
    put(world, *(f"{n}.jpg" for n in range(8)))
    refitted(world)
    report_of(world).update()
    assert text(world) == "8 photos, 3 points, 3 pictures"
    assert all(set(row["neighbours"]["ids"]) < {0, 1, 2} for row in rows(world))
