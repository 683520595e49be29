"""Sheets: every thumbnail where it is said to be, and no more bytes than allowed."""

import io

import numpy as np
import pytest
from PIL import Image

from processor.report.sheets import SIDE, Sheets, sheets
from tests.support.drawn_reports import thumbnail

PLENTY = 10_000_000


def cut(made: Sheets, n: int) -> np.ndarray:
    """Thumbnail n, as the page cuts it out."""
    sheet, at = divmod(n, made.across**2)
    row, column = divmod(at, made.across)
    width, height = map(int, made.sizes[n])
    left = column * made.tile + (made.tile - width) // 2
    top = row * made.tile + (made.tile - height) // 2
    with Image.open(io.BytesIO(made.images[sheet])) as image:
        assert max(image.size) <= SIDE
        return np.asarray(image.convert("RGB").crop((left, top, left + width, top + height)), float)


def test_each_is_where_it_is_said_to_be() -> None:
    sizes = [(64, 48), (48, 64), (64, 64), (24, 20)]
    thumbnails = [thumbnail(n, *sizes[n % 4]) for n in range(100)]
    made = sheets(thumbnails, PLENTY)
    assert (made.tile, made.across, len(made.images)) == (64, 8, 2)
    assert [tuple(size) for size in made.sizes[:4]] == sizes
    for n in (0, 1, 2, 63, 64, 99):
        with Image.open(io.BytesIO(thumbnails[n])) as image:
            wanted = np.asarray(image.convert("RGB"), float)
        assert np.abs(cut(made, n) - wanted).mean() < 15, n


def test_they_shrink_until_they_fit() -> None:
    thumbnails = [thumbnail(n) for n in range(600)]
    sizes = []
    for budget in (PLENTY, 250_000, 150_000, 70_000):
        made = sheets(thumbnails, budget)
        assert sum(map(len, made.images)) <= budget
        assert np.all(made.sizes > 0)
        sizes.append(made.tile)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 64
    assert sizes[-1] == 32


def test_the_last_are_left_out_where_even_the_smallest_do_not_fit() -> None:
    made = sheets([thumbnail(n) for n in range(600)], 20_000)
    assert 0 < sum(map(len, made.images)) <= 20_000
    pictured = made.sizes[:, 0] > 0
    assert pictured[0]
    assert not pictured[-1]
    assert len(made.images) * made.across**2 >= pictured.sum()


@pytest.mark.parametrize("thumbnails", [[], [b""], [b"", b"no WebP", b"RIFF\0\0\0\0WEBPVP8 "]])
def test_without_any_picture(thumbnails: list[bytes]) -> None:
    made = sheets(thumbnails, PLENTY)
    assert made.images == []
    assert made.sizes.shape == (len(thumbnails), 2)
    assert not made.sizes.any()


def test_without_some_pictures() -> None:
    made = sheets([thumbnail(1), b"", thumbnail(2), b"damaged"], PLENTY)
    assert list(made.sizes[:, 0] > 0) == [True, False, True, False]
