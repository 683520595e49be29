"""The functions of winograd.c, called with nothing that has not been checked."""

import ctypes

import numpy as np
import numpy.typing as npt

from processor.network import native
from processor.network.native import InstructionSet
from processor.network.winograd import POINTS
from processor.photos.decode import Pixels

Array = npt.NDArray[np.float32]
Maps = npt.NDArray[np.float32]  # (photos, channels / lanes, height, width, lanes)

ALIGNMENT = 64  # bytes: a vector of AVX-512, and a line of a cache
LEAST_WIDTH = 6  # pixels that the first convolution computes together


def empty(count: int) -> Array:
    """Memory for ``count`` floats, aligned to ALIGNMENT; its content is arbitrary."""
    raw = np.empty(count * 4 + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count * 4].view(np.float32)


class WinogradCode:
    """A loaded library. Its functions release the GIL; several threads may call them at once.

    Arrays must be C-contiguous, aligned to ALIGNMENT and of the shapes that follow from one another,
    not empty, results and scratch writeable and apart from everything else. ValueError otherwise.
    """

    def __init__(self, library: bytes, target: InstructionSet) -> None:
        """Load what was compiled for ``target``. Raises :class:`NetworkError` if that is impossible."""
        self.lanes, self.together = target.lanes, target.outputs
        functions = native.load(library)
        size = ctypes.c_ssize_t
        self._convolve = functions.winograd_convolve
        self._convolve.argtypes, self._convolve.restype = [ctypes.c_void_p] * 5 + [size] * 6, None
        self._scratch = functions.winograd_scratch
        self._scratch.argtypes, self._scratch.restype = [size] * 5, size
        self._first = functions.winograd_first
        self._first.argtypes, self._first.restype = [ctypes.c_void_p] * 6 + [size] * 4, None
        self._first_scratch = functions.winograd_first_scratch
        self._first_scratch.argtypes, self._first_scratch.restype = [size] * 2, size

    def shape(self, photos: int, channels: int, height: int, width: int) -> tuple[int, ...]:
        """The shape of such maps."""
        return (photos, channels // self.lanes, height, width, self.lanes)

    def scratch(self, maps: Maps, outputs: int) -> int:
        """The floats of scratch that :meth:`convolve` needs."""
        photos, deep, height, width, lanes = maps.shape
        if 0 in maps.shape:
            raise ValueError(f"maps are empty: {maps.shape}")
        return int(self._scratch(photos, deep * lanes, outputs, height, width))

    def convolve(
        self, maps: Maps, matrices: Array, bias: Array, result: Maps, scratch: Array, *, pool: bool
    ) -> None:
        """Write to ``result`` what :func:`.winograd.convolve` computes.

        ``matrices``: (POINTS, outputs / together, inputs, together).
        """
        photos, deep, height, width, _ = maps.shape
        inputs, outputs = deep * self.lanes, len(bias)
        half = 2 if pool else 1
        _check("maps", maps, self.shape(photos, inputs, height, width))
        _check("matrices", matrices, (POINTS, outputs // self.together, inputs, self.together))
        _check("bias", bias, (outputs,))
        _check("result", result, self.shape(photos, outputs, height // half, width // half))
        _check("scratch", scratch, (max(len(scratch), self.scratch(maps, outputs)),))
        _check_apart((result, scratch), (maps, matrices, bias))
        sizes = (photos, inputs, outputs, height, width, int(pool))
        arrays = (maps, matrices, bias, result, scratch)
        self._convolve(*(each.ctypes.data for each in arrays), *sizes)

    def first_scratch(self, pixels: Pixels) -> int:
        """The floats of scratch that :meth:`convolve_pixels` needs."""
        return int(self._first_scratch(*pixels.shape[1:3]))

    def convolve_pixels(
        self, pixels: Pixels, mean: Array, kernel: Array, bias: Array, result: Maps, scratch: Array
    ) -> None:
        """Write to ``result`` what :func:`.winograd.convolve_pixels` computes.

        ``pixels``: uint8 (photos, height, width, 3), at least LEAST_WIDTH wide; ``mean``: (3,);
        ``kernel``: (27, outputs), by channel, row and column.
        """
        photos, height, width, _ = pixels.shape
        outputs = len(bias)
        if pixels.dtype != np.uint8 or not pixels.flags.c_contiguous or pixels.shape[3] != 3:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, or not contiguous")
        if width < LEAST_WIDTH or outputs % self.together:
            raise ValueError(f"{width} pixels are too few, or {outputs} outputs not divisible")
        _check("mean", mean, (3,), alignment=4)
        _check("kernel", kernel, (27, outputs))
        _check("bias", bias, (outputs,))
        _check("result", result, self.shape(photos, outputs, height, width))
        _check("scratch", scratch, (max(len(scratch), self.first_scratch(pixels)),))
        _check_apart((result, scratch), (pixels, mean, kernel, bias))
        arrays = (pixels, mean, kernel, bias, result, scratch)
        self._first(*(each.ctypes.data for each in arrays), photos, outputs, height, width)


def _check(name: str, array: Array, shape: tuple[int, ...], alignment: int = ALIGNMENT) -> None:
    if 0 in shape:
        raise ValueError(f"{name} is empty: {shape}")
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, wanted float32 {shape}")
    if not array.flags.c_contiguous or array.ctypes.data % alignment:
        raise ValueError(f"{name} is not contiguous and aligned to {alignment} bytes")


def _check_apart(written: tuple[Array, ...], read: tuple[npt.NDArray[np.generic], ...]) -> None:
    for n, array in enumerate(written):
        if not array.flags.writeable:
            raise ValueError("result and scratch have to be writeable")
        if any(np.may_share_memory(array, other) for other in (*written[n + 1 :], *read)):
            raise ValueError("result and scratch have to be apart from everything else")
