"""The map: every photo is in it or a dot, off its neighbours, on a valid PNG of the right size."""

import numpy as np
import pytest
from PIL import Image

from demo import layout, picture
from demo.fruit import SPECIES
from demo.results import Results
from demo.sample import draw
from demo.sidebar import colours_of

WIDTH, HEIGHT = 1190, 846


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a.jpg"
    draw(SPECIES[0], 1).save(path)
    return path


def results(labels, components=5):
    count = len(labels)
    points = np.random.default_rng(0).normal(0, 1, (count, 2)).astype(np.float32)
    variance = 0.5 ** np.arange(1, components + 1)
    return Results("m", 512, 1, [f"k{n}" for n in range(count)], labels, points, variance, [])


@pytest.mark.parametrize(
    "labels",
    [
        ["Apple", None, "$1_$2^", "梨", "_x", "a\x1b\x00\n\ud800", "Apple"],
        ["one"],
        [f"label {n}" for n in range(30)],
    ],
    ids=["odd labels", "one photo", "many labels"],
)
def test_picture(tmp_path, photo, labels):
    target = tmp_path / "map.png"
    wanted = results(labels, components=min(5, len(labels)))
    shown = picture.draw(wanted, dict.fromkeys(wanted.keys, photo), target, trained=False)
    assert shown == len(labels)
    with Image.open(target) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (1600, 1000))
        red = (np.asarray(image.convert("RGB"))[92:938, 44:1234] @ [1, -0.5, -0.5]) > 100
    assert red.sum() > 100 * len(labels)  # the apples are there


def test_photos_that_cannot_be_shown_are_left_out(tmp_path, photo):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a photo")
    wanted = results(["a", "b", "c", "d"])
    files = {"k0": photo, "k1": broken, "k2": tmp_path / "gone.jpg"}
    assert picture.draw(wanted, files, tmp_path / "map.png", trained=True) == 1


def test_more_photos_than_fit_become_dots(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(picture, "MOST", 20)
    wanted = results(["a"] * 50)
    files = dict.fromkeys(wanted.keys, photo)
    assert picture.draw(wanted, files, tmp_path / "map.png", trained=True) == 20


def test_colours_are_distinct():
    for count in (1, 20, 21, 60):
        assert len(set(colours_of([f"l{n:02}" for n in range(count)] * 2).values())) == count


def test_place_fills_the_picture_and_points_up():
    places = layout.place(np.array([[0.0, 5.0], [10.0, -5.0], [5.0, 0.0]]), 100, 60, 10)
    assert places.tolist() == [[10, 10], [90, 50], [50, 30]]
    assert layout.place(np.zeros((2, 2)), 100, 60, 10).tolist() == [[50, 30]] * 2


def test_select_spreads_what_it_takes():
    points = np.random.default_rng(1).uniform(0, 1, (2000, 2)) * [WIDTH, HEIGHT]
    chosen = layout.select(points, 100, gap=40)
    assert len(set(chosen.tolist())) == 100
    apart = np.abs(points[chosen][:, None] - points[chosen]).max(axis=2)
    assert apart[~np.eye(100, dtype=bool)].min() >= 40
    assert len(layout.select(points, 1000, gap=400)) == 1000
    assert layout.select(points[:5], 100, gap=40).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 2, 120])
def test_spread_keeps_photos_apart_inside_and_near(count):
    side = layout.side_of(count, WIDTH, HEIGHT)
    points = np.random.default_rng(2).normal(0, 1, (count, 2))
    places = layout.place(points, WIDTH, HEIGHT, side * 0.6)
    at = layout.spread(places, WIDTH, HEIGHT, side)
    overlap = np.clip(side - np.abs(at[:, None] - at), 0, None).prod(axis=2) / side**2
    np.fill_diagonal(overlap, 0)
    assert overlap.sum(axis=1).max() < 0.5
    assert overlap.sum(axis=1).mean() < 0.1
    assert at.min() >= side / 2
    assert (at <= np.array([WIDTH, HEIGHT]) - side / 2).all()
    assert np.abs(at - places).mean() < side


def test_equal_points_part():
    at = layout.spread(np.full((9, 2), 300.0), WIDTH, HEIGHT, 50)
    apart = np.abs(at[:, None] - at).max(axis=2) + 50 * np.eye(9)
    assert apart.min() > 40
