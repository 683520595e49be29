"""The engine ``winograd``: the compiled network, on CPU, by the convolutions of winograd.c.

They need a quarter of the multiplications of the definition, so it is faster than the machine's peak
rate would allow for plain ones. Neither TensorFlow nor the weights file is needed here.
"""

import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from processor.network import winograd_file
from processor.network.spec import (
    IMAGENET_MEAN_RGB,
    LAYERS,
    Features,
    NetworkSpec,
    checked,
)
from processor.network.winograd import STEP
from processor.network.winograd_code import Array, Maps, WinogradCode, empty
from processor.photos.decode import Pixels

LEAST_BATCH = 8  # with fewer photos the weights of blocks 4 and 5 are fetched more often
LEAST_TILES = 96  # of a batch in block 5, for the same reason: 8 photos of 224 px, 24 of 100
FIRST_PIXELS = 224 * 224  # of the photos that take blocks 1 to 3 together; one may have more

_LOWER = (
    *("block1_conv2", "block2_conv1", "block2_conv2"),
    *("block3_conv1", "block3_conv2", "block3_conv3"),
)
_UPPER = tuple(f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3))
_POOLED = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")


class WinogradNetwork:
    """See :class:`.spec.Network`; calls from several threads are serialised.

    Blocks 1 to 3 take a few photos at a time, because their maps are large; blocks 4 and 5 take all of a
    batch, because they have nine tenths of the weights. Several ``threads`` share the photos.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        if spec.compiled is None:
            raise ValueError(
                "engine 'winograd' needs a compiled file, see processor.network.compiled"
            )
        target, library, self._weights = winograd_file.read(spec.compiled.verified())
        self._code = WinogradCode(library, target)
        self._spec = spec
        self._lock = threading.Lock()
        self._threads = spec.threads or len(os.sched_getaffinity(0))
        self._memories = [_Memory() for _ in range(self._threads)]
        across = (spec.input_size // 16 + STEP - 1) // STEP  # tiles of block 5
        each = max(LEAST_BATCH, LEAST_TILES // across**2)
        self.batch_size = spec.batch_size or self._threads * each

    def features(self, pixels: Pixels) -> Features:
        """See :class:`.spec.Network`."""
        spec = self._spec
        spec.check_pixels(pixels)
        result = np.empty((len(pixels), LAYERS[spec.layer]), dtype=np.float32)
        with self._lock, ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(pixels), self.batch_size):
                batch = slice(start, start + self.batch_size)
                shares = np.array_split(np.ascontiguousarray(pixels[batch]), self._threads)
                rows = pool.map(self._features, filter(len, shares), self._memories)
                np.concatenate(list(rows), out=result[batch])
        return checked(result, spec)

    def _features(self, pixels: Pixels, memory: "_Memory") -> Features:
        """The features of one thread's photos: (n, dimension)."""
        count, size = len(pixels), self._spec.input_size
        stack = memory.array("stack", self._code.shape(count, 256, size // 8, size // 8))
        together = max(1, FIRST_PIXELS // size**2)
        for start in range(0, count, together):
            photos = slice(start, start + together)
            maps = self._first(pixels[photos], memory)
            self._convolutions(maps, _LOWER, memory, stack[photos])
        maps = memory.array("last", self._code.shape(count, 512, size // 32, size // 32))
        self._convolutions(stack, _UPPER, memory, maps)
        return self._head(maps)

    def _first(self, pixels: Pixels, memory: "_Memory") -> Maps:
        """The maps of the first convolution."""
        code, weights = self._code, self._weights
        kernel, bias = weights["block1_conv1/kernel"], weights["block1_conv1/bias"]
        result = memory.array("maps0", code.shape(len(pixels), len(bias), *pixels.shape[1:3]))
        scratch = memory.array("scratch", (code.first_scratch(pixels),))
        code.convolve_pixels(pixels, IMAGENET_MEAN_RGB, kernel, bias, result, scratch)
        return result

    def _convolutions(
        self, maps: Maps, names: Sequence[str], memory: "_Memory", result: Maps
    ) -> None:
        """Write to ``result`` what these convolutions, one after the other, make of ``maps``."""
        code = self._code
        for number, name in enumerate(names, start=1):
            matrices, bias = self._weights[f"{name}/kernel"], self._weights[f"{name}/bias"]
            pool = name in _POOLED
            height, width = (side // (2 if pool else 1) for side in maps.shape[2:4])
            shape = code.shape(len(maps), len(bias), height, width)
            last = number == len(names)
            target = result if last else memory.array(f"maps{number % 2}", shape)
            scratch = memory.array("scratch", (code.scratch(maps, len(bias)),))
            code.convolve(maps, matrices, bias, target, scratch, pool=pool)
            maps = target

    def _head(self, maps: Maps) -> Features:
        """The layer of the spec, from the pooled maps of block 5: (n, dimension)."""
        match self._spec.layer:
            case "avg_pool":
                features: Features = maps.mean(axis=(2, 3)).reshape(len(maps), -1)
            case "max_pool":
                features = maps.max(axis=(2, 3)).reshape(len(maps), -1)
            case _:
                features = maps.transpose(0, 2, 3, 1, 4).reshape(len(maps), -1)  # channels last
                for name in ("fc1", "fc2"):
                    kernel, bias = self._weights[f"{name}/kernel"], self._weights[f"{name}/bias"]
                    features = np.maximum(features @ kernel + bias, 0)
        return features


class _Memory:
    """Arrays of one thread, kept for the next batch: the kernel takes its time to clear new memory."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> Array:
        """The array of this name, with this shape and any content."""
        count = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < count:
            self._arrays[name] = empty(count)
        return self._arrays[name][:count].reshape(shape)
