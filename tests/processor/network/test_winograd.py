"""The specification of winograd.c, against the definition of a convolution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.network.winograd import POINTS, convolve, convolve_pixels, matrices


def by_definition(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3 x 3, one pixel of zeros around, ReLU, in float64."""
    padded = np.pad(maps.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = maps.shape[2:]
    total = bias[:, None, None].astype(np.float64)
    for row in range(3):
        for column in range(3):
            part = padded[:, :, row : row + height, column : column + width]
            total = total + np.einsum("nchw,co->nohw", part, kernel[row, column].astype(np.float64))
    return np.maximum(total, 0)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    photos=st.integers(1, 3),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    seed=st.integers(0, 1000),
)
def test_it_is_the_convolution_of_the_definition(
    photos: int, inputs: int, outputs: int, height: int, width: int, seed: int
) -> None:
    maps = drawn(seed, photos, inputs, height, width)
    kernel, bias = drawn(seed + 1, 3, 3, inputs, outputs), drawn(seed + 2, outputs)
    wanted = by_definition(maps, kernel, bias)
    found = convolve(maps, kernel, bias, pool=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_pooling_takes_the_largest_of_four_and_drops_an_odd_row_and_column() -> None:
    maps, kernel, bias = drawn(0, 2, 3, 7, 9), drawn(1, 3, 3, 3, 4), drawn(2, 4)
    plain = convolve(maps, kernel, bias, pool=False)[:, :, :6, :8]
    wanted = plain.reshape(2, 4, 3, 2, 4, 2).max(axis=(3, 5))
    assert np.array_equal(convolve(maps, kernel, bias, pool=True), wanted)


def test_the_first_convolution_is_of_pixels_minus_their_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 7, 3)).astype(np.uint8)
    mean, kernel, bias = drawn(1, 3), drawn(2, 3, 3, 3, 4), drawn(3, 4)
    wanted = by_definition((pixels - mean).transpose(0, 3, 1, 2), kernel, bias)
    np.testing.assert_allclose(convolve_pixels(pixels, mean, kernel, bias), wanted, rtol=1e-5)


def test_matrices_are_ordered_by_point_input_output() -> None:
    kernel = np.zeros((3, 3, 2, 4), dtype=np.float32)
    kernel[0, 0, 1, 3] = 24  # only the first tap of one pair of channels
    found = matrices(kernel)
    assert found.shape == (POINTS, 2, 4)
    assert found[:, 1, 3].reshape(6, 6)[0].tolist() == pytest.approx([1.5, -1, -1, 0.25, 0.25, 0])
    assert not np.delete(found.reshape(POINTS, 8), 7, axis=1).any()
