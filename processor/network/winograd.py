"""Winograd's convolutions in NumPy: the specification of winograd.c, and the matrices it multiplies.

F(4 x 4, 3 x 3) of Lavin and Gray 2015 (arXiv:1509.09308): a tile of 6 x 6 inputs d and a kernel g give
4 x 4 outputs A^T [(G g G^T) * (B^T d B)] A, with 36 multiplications where the definition needs 144. The
points of interpolation are 0, 1, -1, 2, -2 and infinity.
"""

import numpy as np
import numpy.typing as npt

from processor.photos.decode import Pixels

Maps = npt.NDArray[np.float32]  # (photos, channels, height, width)
Kernel = npt.NDArray[np.float32]  # (3, 3, inputs, outputs), as Keras has it
Bias = npt.NDArray[np.float32]  # (outputs,)

TILE, STEP = 6, 4  # inputs and outputs of a tile, on each side
POINTS = TILE * TILE

TO_POINTS = np.array(  # B^T
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=np.float32,
)
FROM_POINTS = np.array(  # A^T
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=np.float32,
)
KERNEL_TO_POINTS = np.array(  # G
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)


def matrices(kernel: Kernel) -> npt.NDArray[np.float32]:
    """G g G^T of every pair of channels, computed in float64: (POINTS, inputs, outputs)."""
    by_rows = np.tensordot(KERNEL_TO_POINTS, kernel.astype(np.float64), (1, 0))
    both = np.tensordot(KERNEL_TO_POINTS, by_rows, (1, 1)).swapaxes(0, 1)
    return both.reshape(POINTS, *kernel.shape[2:]).astype(np.float32)


def convolve(maps: Maps, kernel: Kernel, bias: Bias, *, pool: bool) -> Maps:
    """3 x 3 with one pixel of zeros around, bias, ReLU; with ``pool`` then the maximum of 2 x 2.

    (n, inputs, height, width) becomes (n, outputs, height, width), halved and rounded down with
    ``pool``.
    """
    photos, inputs, height, width = maps.shape
    down, across = -(-height // STEP), -(-width // STEP)
    padded = np.zeros((photos, inputs, down * STEP + 2, across * STEP + 2), dtype=np.float32)
    padded[:, :, 1 : height + 1, 1 : width + 1] = maps
    windows = np.lib.stride_tricks.sliding_window_view(padded, (TILE, TILE), axis=(2, 3))
    tiles = windows[:, :, ::STEP, ::STEP]  # (n, inputs, down, across, TILE, TILE)
    points = np.einsum("iy,ncabyx,jx->ijnabc", TO_POINTS, tiles, TO_POINTS, optimize=True)
    products = points.reshape(POINTS, -1, inputs) @ matrices(kernel)
    products = products.reshape(TILE, TILE, photos, down, across, -1)
    outputs = np.einsum("yi,ijnabo,xj->noaybx", FROM_POINTS, products, FROM_POINTS, optimize=True)
    result = outputs.reshape(photos, -1, down * STEP, across * STEP)[:, :, :height, :width]
    result = _relu(result + bias[:, None, None])
    return _pooled(result) if pool else result


def convolve_pixels(
    pixels: Pixels, mean: npt.NDArray[np.float32], kernel: Kernel, bias: Bias
) -> Maps:
    """The first convolution, by its definition: of uint8 (n, h, w, 3) minus ``mean`` (3,), with ReLU."""
    inputs = np.pad(pixels - mean, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(inputs, (3, 3), axis=(1, 2))
    result = np.einsum("nhwcyx,yxco->nohw", windows, kernel, optimize=True)
    return _relu(result + bias[:, None, None])


def _relu(maps: Maps) -> Maps:
    return np.maximum(maps, np.float32(0))


def _pooled(maps: Maps) -> Maps:
    height, width = maps.shape[2] // 2 * 2, maps.shape[3] // 2 * 2
    even = maps[:, :, :height, :width]
    rows = np.maximum(even[:, :, ::2], even[:, :, 1::2])
    return np.maximum(rows[..., ::2], rows[..., 1::2])
