"""HEIC photos: their pixels."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processor.photos import heic as decoder
from processor.photos.decode import decode
from tests.processor.photos.test_exif import STORED
from tests.support.heif import heic, oriented
from tests.support.pictures import assert_colour, assert_scene, encode, scene

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="module")
def _ended():
    yield
    decoder.close()


@pytest.mark.parametrize("options", [{}, {"chroma": 420}, {"tile_size": 64}])
@pytest.mark.parametrize("reduced", [True, False])
def test_heic_gives_upright_rgb(reduced, options):
    photo = decode(heic(scene(128, 96), **options), 32, reduced_decode=reduced)
    assert photo.pixels.shape == (32, 32, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert (photo.width, photo.height) == (128, 96)
    assert_scene(photo, tolerance=6)


def test_the_decoder_finds_its_code_where_the_workers_path_is_relative(monkeypatch):
    """As on an executor of a cluster."""
    decoder.close()
    monkeypatch.chdir(ROOT)
    others = [each for each in sys.path if Path(each or ".").resolve() != ROOT]
    monkeypatch.setattr(sys, "path", [".", *others])
    assert decode(heic(scene(128, 96)), 32).width == 128
    decoder.close()


@pytest.mark.parametrize("size", [20, 100, 224])
def test_heic_is_squashed_like_every_format(size):
    rng = np.random.default_rng(3)
    soft = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    image = soft.resize((1001, 751), Image.Resampling.BICUBIC)
    photo, other = decode(heic(image), size), decode(encode(image, "PNG"), size)
    assert (photo.width, photo.height) == (1001, 751)
    difference = np.abs(photo.pixels.astype(int) - other.pixels)
    assert difference.mean() < 1.5
    assert difference.max() <= 8


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("exif", [1, 6])
def test_orientation_is_applied_once_and_exif_is_ignored(orientation, exif):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(scene()))))
    photo = decode(oriented(stored, orientation, exif), 32)
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo, tolerance=6)


COLOURS = {
    "grey": (heic(Image.new("L", (16, 16), 90)), (90, 90, 90)),
    "transparent": (heic(Image.new("RGBA", (16, 16), (255, 0, 0, 128))), (255, 127, 127)),
    "transparent black": (heic(Image.new("RGBA", (16, 16))), (255, 255, 255)),
    "opaque": (heic(Image.new("RGBA", (16, 16), (9, 99, 199, 255))), (9, 99, 199)),
    "transparent grey": (heic(Image.new("LA", (16, 16), (0, 128))), (127, 127, 127)),
}


@pytest.mark.parametrize(("data", "colour"), COLOURS.values(), ids=COLOURS)
def test_every_mode_gives_its_colour(data, colour):
    assert_colour(data, colour, tolerance=3)


def sixteen_bits(*colour):
    return np.full((16, 16, len(colour)), colour, np.uint16)


@pytest.mark.parametrize(
    ("mode", "samples", "colour"),
    [
        ("RGB;16", sixteen_bits(0x8000, 0x4000, 0xC000), (128, 64, 192)),
        ("RGBA;16", sixteen_bits(0xFFFF, 0, 0, 0x8000), (255, 127, 127)),
        ("I;16", sixteen_bits(0x5A00), (90, 90, 90)),
    ],
)
def test_ten_bits_are_scaled_to_eight(mode, samples, colour):
    assert_colour(heic((samples, mode)), colour, tolerance=3)


@pytest.mark.parametrize("primary", [0, 1, 2])
def test_primary_of_several_images(primary):
    images = [Image.new("RGB", (80, 80), (i, 0, 0)) for i in range(3)]
    images[primary] = scene()
    photo = decode(heic(*images, primary=primary), 32)
    assert (photo.width, photo.height) == (64, 48)
    assert_scene(photo, tolerance=6)


def test_thumbnails_are_ignored():
    assert_scene(decode(heic(scene(640, 480), thumbnails=[64]), 32), tolerance=6)


def test_threads_decode_at_once():
    data = heic(scene(640, 480))
    with ThreadPoolExecutor(8) as pool:
        for photo in pool.map(lambda _: decode(data, 32), range(40)):
            assert_scene(photo, tolerance=6)
