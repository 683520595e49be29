"""The Spark task: the outcome of each photo, and the file that it writes."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from ingest.events import UNKNOWN_TIME
from processor.errors import BudgetError, NetworkError
from processor.network.spec import CompiledFile, Features, NetworkSpec
from processor.photos.decode import Pixels
from processor.photos.memory import MemoryBudget
from processor.pipeline import sizing, tasks
from processor.pipeline.outcomes import Kind, Work
from processor.pipeline.tasks import extract, load_network
from processor.store import datafiles
from tests.support.drawn_photos import photo
from tests.support.pictures import encode
from tests.support.world import World

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def work(key: str, *, stored: str | None = None, removal: bool = False) -> Work:
    return Work(key, None, NOON, removal=removal, stored_version=stored)


def test_each_photo_has_one_outcome(world: World) -> None:
    unchanged = world.put("photos/unchanged.jpg", photo(1)).etag
    world.put("photos/Apple/new.jpg", photo(2))
    world.put("photos/bad.jpg", b"no photo")
    world.put("photos/huge.jpg", bytes(world.recipe.max_bytes + 1))
    works = [
        work("photos/unchanged.jpg", stored=unchanged),
        work("photos/Apple/new.jpg"),
        work("photos/bad.jpg"),
        work("photos/huge.jpg"),
        work("photos/gone.jpg", stored="1"),
        work("photos/removed.jpg", removal=True),
        work("photos/vanished.jpg"),
    ]
    result = extract(works, world.recipe)
    found = {each.key.removeprefix("photos/"): (each.kind, each.reason) for each in result.outcomes}
    assert found == {
        "unchanged.jpg": (Kind.UNCHANGED, ""),
        "Apple/new.jpg": (Kind.STORED, ""),
        "bad.jpg": (Kind.REJECTED, "unsupported"),
        "huge.jpg": (Kind.REJECTED, "too-large"),
        "gone.jpg": (Kind.GONE, ""),
        "removed.jpg": (Kind.GONE, ""),
        "vanished.jpg": (Kind.REJECTED, "vanished"),
    }
    assert result.file
    (row,) = datafiles.read(world.recipe.layout.store.features, result.file.path).to_pylist()
    assert (row["key"], row["label"]) == ("photos/Apple/new.jpg", "Apple")
    assert [each.object_versions for each in result.keyed_files()] == [{row["key"]: row["version"]}]


def test_a_photo_beyond_the_memory_budget_is_too_large(world: World, tmp_path: Path) -> None:
    little = MemoryBudget(15 << 20, tmp_path / "memory")
    recipe = replace(world.recipe, memory=little, max_pixels=2_000_000)
    world.put("photos/webp", encode(Image.new("RGB", (1100, 1000)), "WEBP"))
    world.put("photos/jpeg", encode(Image.new("RGB", (1100, 1000)), "JPEG"))
    result = extract([work("photos/webp"), work("photos/jpeg")], recipe)
    found = {each.key: (each.kind, each.reason) for each in result.outcomes}
    assert found == {
        "photos/webp": (Kind.REJECTED, "too-large"),
        "photos/jpeg": (Kind.STORED, ""),
    }


def test_without_a_budget_nothing_large_is_decoded(world: World, tmp_path: Path) -> None:
    lost = MemoryBudget(1 << 30, tmp_path / "missing" / "memory")
    recipe = replace(world.recipe, memory=lost, max_pixels=2_000_000)
    world.put("photos/webp", encode(Image.new("RGB", (1100, 1000)), "WEBP"))
    with pytest.raises(BudgetError, match="missing/memory"):
        extract([work("photos/webp")], recipe)


def test_the_network_starts_on_the_first_photos_while_others_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(world.recipe.network)
    sizes: list[int] = []

    class Watched:
        batch_size = 8

        def features(self, pixels: Pixels) -> Features:
            sizes.append(len(pixels))
            return network.features(pixels)

    monkeypatch.setattr(tasks, "load_network", lambda *_: Watched())
    keys = [f"photos/{n}.jpg" for n in range(13)]
    for n, key in enumerate(keys):
        world.put(key, photo(n))
    result = extract(map(work, keys), world.recipe)
    assert sizes == [2, 8, 3]
    assert {each.kind for each in result.outcomes} == {Kind.STORED}


def test_the_time_of_a_row_is_the_events_or_else_s3s(world: World) -> None:
    announced, other = (world.put(f"photos/{n}.jpg", photo(n)).etag for n in range(2))
    works = [
        replace(work("photos/0.jpg"), event_version=announced),
        replace(work("photos/1.jpg"), event_version=other, event_time=UNKNOWN_TIME),
    ]
    result = extract(works, world.recipe)
    assert result.file
    rows = datafiles.read(world.recipe.layout.store.features, result.file.path).to_pylist()
    times = {row["key"]: row["event_time"] for row in rows}
    assert times["photos/0.jpg"] == NOON
    assert abs(datetime.now(UTC) - times["photos/1.jpg"]) < timedelta(minutes=5)


def test_without_a_new_photo_there_is_no_file(world: World) -> None:
    result = extract([work("photos/vanished.jpg")], world.recipe)
    assert result.file is None
    assert list(result.keyed_files()) == []


def test_a_loaded_network_outlives_its_file(ncnn: NetworkSpec, tmp_path: Path) -> None:
    assert ncnn.compiled
    copy = tmp_path / "vgg16.ncnn"
    shutil.copy(ncnn.compiled.path, copy)
    spec = replace(ncnn, compiled=replace(ncnn.compiled, path=str(copy)))
    loaded = load_network(spec)
    copy.unlink()
    assert load_network(spec) is loaded


def test_without_the_file_the_error_names_the_configured_path(ncnn: NetworkSpec) -> None:
    lost = replace(ncnn, compiled=CompiledFile("/of/another/machine/vgg16.ncnn", "0" * 64))
    with pytest.raises(NetworkError, match=r"/of/another/machine/vgg16\.ncnn"):
        load_network(lost)


def test_where_the_driver_knows_no_cores_tasks_share_those_of_their_machine(
    spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[NetworkSpec] = []
    monkeypatch.setattr(tasks.engines, "load", loaded.append)
    monkeypatch.setattr(sizing, "cores", lambda: 8)
    for threads in (0, 1):
        load_network(replace(spec, threads=threads), 2)
    assert [each.threads for each in loaded] == [4, 1]
