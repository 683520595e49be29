"""Arrays as winograd.c reads them, from arrays as the specification in NumPy has them, and back."""

import numpy as np

from processor.network.winograd import POINTS, matrices
from processor.network.winograd_code import WinogradCode, empty


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def drawn_pixels(photos: int, height: int, width: int) -> np.ndarray:
    drawing = np.random.default_rng(0)
    return drawing.integers(0, 256, (photos, height, width, 3), dtype=np.uint8)


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy in memory that the code accepts."""
    result = empty(array.size).reshape(array.shape)
    result[...] = array
    return result


def arranged(maps: np.ndarray, lanes: int) -> np.ndarray:
    """(n, c, h, w) as (n, c / lanes, h, w, lanes)."""
    photos, channels, height, width = maps.shape
    split = maps.reshape(photos, channels // lanes, lanes, height, width)
    return aligned(split.transpose(0, 1, 3, 4, 2))


def plain(maps: np.ndarray) -> np.ndarray:
    """What :func:`arranged` took."""
    photos, deep, height, width, lanes = maps.shape
    return maps.transpose(0, 1, 4, 2, 3).reshape(photos, deep * lanes, height, width)


def arranged_matrices(kernel: np.ndarray, together: int) -> np.ndarray:
    """The matrices of a kernel, (POINTS, outputs / together, inputs, together)."""
    inputs, outputs = kernel.shape[2:]
    split = matrices(kernel).reshape(POINTS, inputs, outputs // together, together)
    return aligned(split.swapaxes(1, 2))


def run(
    code: WinogradCode, maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray, *, pool: bool
) -> np.ndarray:
    """What the code computes where :func:`processor.network.winograd.convolve` is the specification."""
    source = arranged(maps, code.lanes)
    photos, _, height, width = maps.shape
    half = 2 if pool else 1
    shape = code.shape(photos, len(bias), height // half, width // half)
    result = aligned(np.full(shape, np.nan, np.float32))  # every element has to be written
    scratch = aligned(np.full(code.scratch(source, len(bias)), np.nan, np.float32))
    weights = arranged_matrices(kernel, code.together)
    code.convolve(source, weights, aligned(bias), result, scratch, pool=pool)
    return plain(result)


def run_first(
    code: WinogradCode, pixels: np.ndarray, mean: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """The same for :func:`processor.network.winograd.convolve_pixels`."""
    taps = aligned(kernel.transpose(2, 0, 1, 3).reshape(27, -1))
    result = aligned(np.full(code.shape(len(pixels), len(bias), *pixels.shape[1:3]), np.nan))
    scratch = aligned(np.full(code.first_scratch(pixels), np.nan, np.float32))
    code.convolve_pixels(pixels, mean, taps, aligned(bias), result, scratch)
    return plain(result)
