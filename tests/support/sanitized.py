"""Every shape of the network through a library with sanitizers.

``python -m tests.support.sanitized LIBRARY INSTRUCTION_SET OUTPUTS``, with the address sanitizer
preloaded, which ends the process at the first access beyond an array; therefore arrays are allocated
exactly.
"""

import ctypes
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from processor.network.native import INSTRUCTION_SETS
from processor.network.winograd_code import ALIGNMENT, WinogradCode
from tests.support import native_maps
from tests.support.native_maps import drawn, drawn_pixels, run, run_first

SMALLEST, LARGEST, BATCH = 32, 260, 20
SLOW_LARGEST = 66  # with as many outputs as in production: the same accesses, 2 to 16 times as many

_libc = ctypes.CDLL(None)
_libc.posix_memalign.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


class _Exact:
    """Memory that ends where the array ends."""

    def __init__(self, count: int) -> None:
        self._address = ctypes.c_void_p()
        if _libc.posix_memalign(ctypes.byref(self._address), ALIGNMENT, 4 * count):
            raise MemoryError
        self.__array_interface__ = {
            "data": (self._address.value, False),
            "shape": (count,),
            "typestr": "<f4",
            "version": 3,
        }

    def __del__(self) -> None:
        _libc.free(self._address)


def main(library: str, instructions: str, outputs: str) -> None:
    """All shapes, with the fewest channels for a library compiled for so many outputs together."""
    native_maps.empty = lambda count: np.asarray(_Exact(count))  # type: ignore[assignment]
    by_name = {each.name: each for each in INSTRUCTION_SETS}
    target, channels = replace(by_name[instructions], outputs=int(outputs)), int(outputs)
    largest = LARGEST if channels == target.lanes else SLOW_LARGEST
    code = WinogradCode(Path(library).read_bytes(), target)
    kernel, bias = drawn(1, 3, 3, channels, channels), drawn(2, channels)
    taps, mean = drawn(3, 3, 3, 3, channels), drawn(4, 3)

    def ones(photos: int, side: int) -> np.ndarray:
        return np.ones((photos, channels, side, side), np.float32)

    def both(photos: int, side: int) -> None:
        for pool in {side > largest // 2, side > 1}:  # the whole photo is always pooled
            run(code, ones(photos, side), kernel, bias, pool=pool)

    sides = {size >> block for size in range(SMALLEST, largest + 1) for block in range(5)}
    for side in sorted(sides):
        both(1, side)
    for photos in range(1, BATCH + 1):
        for side in (1, 2, 3, 4, 5, 6, 7, 12, 14):
            both(photos, side)
    for wide in (4 * channels, 8 * channels):  # with larger blocks of tiles
        for photos in (1, 5, 9, 10):
            many = drawn(1, 3, 3, channels, wide)
            run(code, ones(photos, 14), many, drawn(2, wide), pool=photos % 2 == 0)
    for size in range(SMALLEST, largest + 1):
        run_first(code, drawn_pixels(1, size, size), mean, taps, bias)
    run_first(code, drawn_pixels(BATCH, SMALLEST, SMALLEST), mean, taps, bias)
    print("clean")


if __name__ == "__main__":
    main(*sys.argv[1:])
