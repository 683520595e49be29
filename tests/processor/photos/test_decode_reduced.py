"""Pixels for the network: their size, the reduced decoding, and VGG-16's preprocessing."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from processor.network.spec import vgg16_input
from processor.photos.decode import PREPROCESSING, PREPROCESSING_FULL, decode
from tests.support.pictures import RED, encode


@pytest.fixture(scope="module")
def twelve_megapixels():
    """Soft blobs, hard edges and grain, 4000 x 3000."""
    rng = np.random.default_rng(3)
    soft = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    image = soft.resize((4000, 3000), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for x, y, radius, *colour in rng.integers(0, (4000, 3000, 500, 256, 256, 256), (60, 6)):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(map(int, colour)))
    grain = rng.integers(-8, 9, (3000, 4000, 1), dtype=np.int16)
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [100, 224])
def test_reduced_decode_is_close_to_full_decode(twelve_megapixels, size):
    data = encode(twelve_megapixels, "JPEG", quality=90)
    reduced, full = (decode(data, size, reduced_decode=choice) for choice in (True, False))
    plain = Image.open(io.BytesIO(data)).resize((size, size), Image.Resampling.BILINEAR)
    assert np.array_equal(full.pixels, np.asarray(plain))
    assert (reduced.width, reduced.height) == (full.width, full.height) == (4000, 3000)
    difference = np.abs(reduced.pixels.astype(int) - full.pixels)
    assert difference.mean() < 0.5
    assert difference.max() <= 8


def test_reduced_decode_shrinks_jpeg_but_not_below_twice_the_size(monkeypatch):
    loaded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(
        ImageFile.ImageFile, "load", lambda self: loaded.append(self.size) or load(self)
    )
    data = encode(Image.new("RGB", (1601, 1200)), "JPEG")
    decode(data, 100)
    assert set(loaded) == {(401, 300)}
    loaded.clear()
    decode(data, 100, reduced_decode=False)
    assert set(loaded) == {(1601, 1200)}


def test_small_photo_is_enlarged_and_thin_photo_squashed():
    assert (
        decode(encode(Image.new("RGB", (1, 1), RED), "PNG"), 5).pixels.tolist()
        == [[list(RED)] * 5] * 5
    )
    photo = decode(encode(Image.new("RGB", (3, 60_000), RED), "PNG"), 50)
    assert (photo.width, photo.height) == (3, 60_000)
    assert (photo.pixels == RED).all()


def test_vgg16_input_has_keras_values():
    pixels = np.array([[[[255, 128, 0], [0, 1, 2]]]], dtype=np.uint8)
    before = pixels.copy()
    result = vgg16_input(pixels)
    # keras.applications.vgg16.preprocess_input (Keras 3.15) of the same pixels
    expected = np.array(
        [[[[-103.939, 128 - 116.779, 255 - 123.68], [2 - 103.939, 1 - 116.779, -123.68]]]]
    )
    assert result.dtype == np.float32
    assert result.shape == pixels.shape
    assert result.flags.c_contiguous
    assert np.allclose(result, expected, rtol=0, atol=1e-5)
    assert np.array_equal(pixels, before)


def test_vgg16_input_is_float32_arithmetic_on_any_layout():
    pixels = np.random.default_rng(4).integers(0, 256, (3, 20, 10, 3), dtype=np.uint8)[:, ::2]
    pixels.setflags(write=False)
    # As keras.applications.imagenet_utils does it: reverse, then subtract a mean per channel.
    expected = pixels.astype(np.float32)[..., ::-1]
    for channel, mean in enumerate([103.939, 116.779, 123.68]):
        expected[..., channel] -= mean
    assert np.array_equal(vgg16_input(pixels), expected)
    assert vgg16_input(pixels).flags.c_contiguous
    assert vgg16_input(pixels[:0]).shape == (0, 10, 10, 3)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 8, 8, 3)),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((1, 3, 8, 8), np.uint8),
    ],
)
def test_vgg16_input_refuses_other_arrays(pixels):
    with pytest.raises(ValueError, match="uint8"):
        vgg16_input(pixels)


def test_both_kinds_of_preprocessing_have_names_of_their_own():
    assert PREPROCESSING != PREPROCESSING_FULL
