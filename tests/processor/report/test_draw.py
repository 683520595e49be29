"""The draw: a sample of exactly one version of the matrix, with its neighbours and known thumbnails."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.layout import StoreLayout
from processor.matrix.matrix import Matrix as ReducedMatrix
from processor.matrix.mirror import model_name
from processor.matrix.refit_policy import RefitPolicy
from processor.report import draw, map_file, parts
from processor.report.draw import Drawn, Matrix
from processor.report.points import NEIGHBOURS, Points
from processor.store import delta
from tests.support.feature_files import commit_features, features_table
from tests.support.in_process import InThisProcess
from tests.support.spectra import geometric, sample

ROWS = 60


@pytest.fixture
def layout(tmp_path: Path) -> StoreLayout:
    """A store with features in two files, and their matrix."""
    found = StoreLayout(f"{tmp_path}/")
    rows = sample(ROWS, geometric)
    commit_features(found, features_table(rows[:40]), features_table(rows[40:], first=40))
    ReducedMatrix(found, RefitPolicy(components=3), InThisProcess(), csv=False).update()
    return found


def matrix(layout: StoreLayout) -> Matrix:
    reduced = delta.open_table(layout.reduced)
    assert reduced
    name = model_name(reduced)
    assert name
    paths = tuple(path.removeprefix(f"{name}/") for path in reduced.paths())
    return Matrix(layout.reduced, name, layout.features, paths)


def drawn(layout: StoreLayout, most: int, *previous: str) -> tuple[Drawn, list[dict]]:
    folder = f"{layout.root}parts"
    found = draw.draw(matrix(layout), most, previous, folder)
    return found, parts.read(folder, found.part).to_pylist()


def test_all_of_a_small_store(layout: StoreLayout) -> None:
    found, rows = drawn(layout, 1000)
    assert found.population == ROWS
    assert sum(photos for _, photos in found.labels) == ROWS
    assert found.labels[0] == ("", ROWS // 2)
    assert found.missing == [(row["key"], row["version"]) for row in rows]
    table = delta.open_table(layout.reduced)
    assert table
    reduced = {row["key"]: row for row in table.dataset().to_table().to_pylist()}
    assert [row["key"] for row in rows] == sorted(reduced)
    for row in rows:
        assert {name: row[name] for name in ("label", "pc1", "pc2")} == {
            name: reduced[row["key"]][name] for name in ("label", "pc1", "pc2")
        }


def test_labels_without_number_take_no_memory_without_a_bound(
    layout: StoreLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = drawn(layout, 1000)
    assert whole.kinds == len(whole.labels) - 1 > 3
    monkeypatch.setattr(draw, "MOST_LABELS", 2)
    few, _ = drawn(layout, 1000)
    assert few.labels[0] == ("", ROWS // 2)
    assert (len(few.labels), few.kinds) == (2, whole.kinds)
    monkeypatch.setattr(draw, "MOST_COUNTED", 3)
    some, _ = drawn(layout, 1000)
    assert some.kinds <= 3
    assert some.labels[0] == ("", ROWS // 2)


def test_neighbours_are_by_the_features_and_in_the_sample(layout: StoreLayout) -> None:
    _, rows = drawn(layout, 25)
    assert len(rows) == 25
    table = delta.open_table(layout.features)
    assert table
    stored = {row["key"]: row["features"] for row in table.dataset().to_table().to_pylist()}
    features = np.array([stored[row["key"]] for row in rows], np.float32)
    features /= np.linalg.norm(features, axis=1)[:, None]
    cosines = features @ features.T
    np.fill_diagonal(cosines, -1)
    for number, row in enumerate(rows):
        wanted = np.argsort(-cosines[number])[:NEIGHBOURS]
        assert row["neighbours"] == wanted.tolist()
        np.testing.assert_allclose(row["cosines"], cosines[number][wanted], atol=1e-6)


def test_the_sample_does_not_depend_on_the_files(layout: StoreLayout) -> None:
    _, before = drawn(layout, 25)
    table = delta.open_table(layout.features)
    assert table
    rows = sample(ROWS, geometric)
    everything = features_table(rows)
    commit_features(layout, everything, removed=tuple(table.files()))
    ReducedMatrix(layout, RefitPolicy(components=3), InThisProcess(), csv=False).update()
    assert len(matrix(layout).paths) == 1
    _, after = drawn(layout, 25)
    assert [row["key"] for row in after] == [row["key"] for row in before]


def webp(side: int) -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (side, 48), "red").save(picture, "WEBP")
    return picture.getvalue()


def saved(layout: StoreLayout, name: str, photos: dict[tuple[str, str], bytes]) -> str:
    """A map with these thumbnails."""
    count = len(photos)
    alone = np.full((count, NEIGHBOURS), -1, np.int32)
    keys, versions = (list(each) for each in zip(*photos, strict=True))
    points = Points(
        *(keys, [""] * count, np.zeros((count, 2), np.float32)),
        *(alone, alone.astype(np.float32), list(photos.values()), count),
    )
    file = Path(layout.root, name)
    file.write_bytes(map_file.encoded(points, versions, {}))
    return str(file)


def test_thumbnails_of_the_same_version_are_reused(layout: StoreLayout) -> None:
    one, two, three = ((f"photos/{n:06}.jpg", "1") for n in range(3))
    new, old, other = map(webp, (64, 63, 62))
    first = saved(layout, "first", {one: new, two: b"", ("photos/000002.jpg", "old"): old})
    second = saved(layout, "second", {one: old, two: other, ("photos/gone.jpg", "1"): old})
    (damaged := Path(layout.root, "damaged")).write_bytes(b"no parquet")
    found, rows = drawn(layout, 1000, first, str(damaged), second, f"{layout.root}none")
    assert [row["thumbnail"] for row in rows[:3]] == [new, other, None]
    assert three in found.missing
    assert len(found.missing) == ROWS - 2


@pytest.mark.parametrize("forged", [webp(65), webp(64)[:30], b"RIFF", b"", b"RIFF____WEBPVP8L"])
def test_what_cannot_be_a_thumbnail_of_ours_is_not_reused(
    layout: StoreLayout, forged: bytes
) -> None:
    one = ("photos/000000.jpg", "1")
    found, rows = drawn(layout, 1000, saved(layout, "map", {one: forged}))
    assert rows[0]["thumbnail"] is None
    assert one in found.missing


def test_of_one_component_the_other_is_zero(layout: StoreLayout) -> None:
    ReducedMatrix(layout, RefitPolicy(components=1), InThisProcess(), csv=False).update(force=True)
    _, rows = drawn(layout, 1000)
    assert {row["pc2"] for row in rows} == {0.0}


def test_a_file_that_a_vacuum_has_deleted(layout: StoreLayout) -> None:
    there = matrix(layout)
    Path(there.features, there.paths[0]).unlink()
    with pytest.raises(FileNotFoundError):
        draw.draw(there, 1000, (), f"{layout.root}parts")
