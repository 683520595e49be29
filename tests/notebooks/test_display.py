"""The display: hostile names stay text, pictures have their size and a text in their place."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from demo import picture
from notebooks import display
from tests.support.drawn_photos import photo

HOSTILE = "<script>alert('&')</script>\u202e"
SAFE = "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;\\u202e"


def test_names_are_text() -> None:
    shown = [
        display.table([HOSTILE], [(HOSTILE,)]).data,
        display.photos([[(photo(1), HOSTILE), (None, HOSTILE)]]).data,
    ]
    plan = picture.arrange(np.array([[0.0, 1.0], [1.0, 0.0]]))
    _, legend = display.photo_map(plan, [HOSTILE, None], {0: photo(1)})
    for html in (*shown, legend.data):
        assert SAFE in html
        assert "<script" not in html


def test_numbers_are_to_the_right() -> None:
    html = display.table(["a"], [(1234,), (0.98765,), (2.5e-7,), ("1",)]).data
    cells = ["right'>1,234<", "right'>0.988<", "right'>2.5e-07<", "left'>1<"]
    assert all(cell in html for cell in cells)


def test_the_map_shows_photos_and_names_them_in_words() -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    labels = [f"label {n}" for n in range(50)]
    thumbnails = {n: photo(n) for n in range(49)}
    shown, legend = display.photo_map(picture.arrange(points), labels, thumbnails)
    assert shown.alt.startswith("49 photos laid out")
    with Image.open(io.BytesIO(shown.data)) as image:
        assert image.size == (picture.ACROSS, picture.DOWN)
    assert legend.data.count("■") == display.MOST_NAMED
    assert "and 10 more" in legend.data


def test_the_chart_says_what_it_shows() -> None:
    chart = display.variance_chart(np.array([0.5, 0.25]))
    assert chart.alt == "2 components explain 75.0% of the variance"
    with Image.open(io.BytesIO(chart.data)) as image:
        assert image.width > 800


def test_a_lying_photo_is_turned_upright() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:20] = 200  # light above
    with Image.open(io.BytesIO(display.lying(pixels))) as image:
        stored, upright = np.asarray(image), np.asarray(ImageOps.exif_transpose(image))
    assert abs(int(stored[5, 20, 0]) - int(stored[35, 20, 0])) < 20
    assert upright[5, 20, 0] > upright[35, 20, 0] + 150


@pytest.mark.parametrize("content", [photo(1), b"no photo"])
def test_preprocessing_shows_every_step(content: bytes) -> None:
    pixels = np.full((32, 32, 3), (255, 0, 128), np.uint8)
    (stored, _), (_, size), blue, green, red = display.preprocessing(content, pixels)
    assert (stored is None) == (content == b"no photo")
    assert size.endswith("32 × 32")
    assert blue[1] == "blue − 103.939\non average 24.1"
    assert green[1] == "green − 116.779\non average -116.8"
    assert red[1] == "red − 123.68\non average 131.3"
