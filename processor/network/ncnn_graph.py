"""VGG-16 in ncnn's format: a text that describes the layers, and a file with their weights.

Two chains in one network. Blocks 1 to 3 process one photo at a time, because its maps are large and
just fit into the caches. Blocks 4 and 5 have small maps and nine tenths of the convolutions' weights,
which would be fetched from memory again for every photo; there the photos of a batch are stacked into
one tall map, so the weights are fetched once a batch (100 px: 81 instead of 60 photos/s). Rows of
zeros between photos are their padding; what a convolution writes into them is cleared before the next.
"""

from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from processor.errors import NetworkError
from processor.network.weights_file import read

PIXELS, LOWER = "pixels", "lower"  # first chain: float32 (3, size, size) -> (256, size/8, size/8)
STACK, MAPS = "stack", "maps"  # second: (256, rows, size/8) -> (512, rows/2, size/16)
ROWS = {4: "rows4", 5: "rows5"}  # its masks, (1, rows, width): 1 in a photo's rows, 0 between them
FLAT, DENSE = "flat", "dense"  # third, only with fc2: (n, 25088), channels last, -> (n, 4096)

_CHANNELS = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}
_MAGIC = 7767517
_FLOAT32 = b"\0\0\0\0"  # the tag of uncompressed weights


def text(*, top: bool) -> str:
    """The network's layers, as ``Net.load_param_mem`` reads them; ``top`` adds fc1 and fc2."""
    layers = [*_lower(), *_upper(), *(_top() if top else ())]
    blobs = {blob for line in layers for blob in line.outputs}
    return "\n".join([str(_MAGIC), f"{len(layers)} {len(blobs)}", *map(str, layers)]) + "\n"


def version() -> str:
    """What determines the file besides the weights: ncnn's version. Raises NetworkError without ncnn."""
    try:
        return metadata.version("ncnn")
    except metadata.PackageNotFoundError as error:
        raise NetworkError(
            "ncnn is not installed here: install requirements.txt, or set model.engine to tensorflow"
        ) from error


def write(target: Path, weights: Path, digest: str, *, top: bool) -> None:
    """Write what ``Net.load_model`` reads: the weights of the layers of :func:`text`, in its order.

    Holds one array in memory at a time. Raises WeightsError if ``weights`` cannot be read or have
    another digest; a partial ``target`` is left then.
    """
    with target.open("wb") as file:
        for name, array in read(weights, include_top=top, digest=digest):
            if name.endswith("/kernel"):
                file.write(_FLOAT32)
                order = (3, 2, 0, 1) if array.ndim == 4 else (1, 0)  # outputs first
                array = array.transpose(order)
            file.write(np.ascontiguousarray(array, dtype="<f4").data)


class _Layer:
    """A line of the text. ``_N`` is parameter N, see ncnn's list of operators."""

    def __init__(
        self, kind: str, inputs: Iterable[str], outputs: Iterable[str], **parameters: float
    ) -> None:
        self.kind, self.inputs, self.outputs = kind, list(inputs), list(outputs)
        self.parameters = parameters

    def __str__(self) -> str:
        ends = [*self.inputs, *self.outputs]
        numbered = [f"{name[1:]}={value}" for name, value in self.parameters.items()]
        counts = [str(len(self.inputs)), str(len(self.outputs))]
        return " ".join([self.kind, self.outputs[0], *counts, *ends, *numbered])


def _input(name: str) -> _Layer:
    return _Layer("Input", [], [name])


def _convolution(source: str, target: str, inputs: int, outputs: int) -> _Layer:
    """3 x 3, one pixel of zeros around, bias, ReLU."""
    size = inputs * outputs * 9
    return _Layer("Convolution", [source], [target], _0=outputs, _1=3, _4=1, _5=1, _6=size, _9=1)


def _max_pooling(source: str, target: str) -> _Layer:
    """The maximum of 2 x 2; an odd last row or column is dropped, as in Keras."""
    return _Layer("Pooling", [source], [target], _0=0, _1=2, _2=2, _5=1)


def _lower() -> Iterator[_Layer]:
    yield _input(PIXELS)
    last, inputs = PIXELS, 3
    for block in (1, 2, 3):
        for number, outputs in enumerate(_CHANNELS[block], start=1):
            name = f"block{block}_conv{number}"
            yield _convolution(last, name, inputs, outputs)
            last, inputs = name, outputs
        target = LOWER if block == 3 else f"block{block}_pool"
        yield _max_pooling(last, target)
        last = target


def _upper() -> Iterator[_Layer]:
    yield _input(STACK)
    for block, uses in ((4, 2), (5, 3)):
        yield _input(ROWS[block])
        yield _Layer("Split", [ROWS[block]], [f"{ROWS[block]}_{use}" for use in range(uses)])
    yield from _stacked_block(4, STACK, "block4_conv3", inputs=256, clear_first=False)
    yield _max_pooling("block4_conv3", "block4_pool")
    yield from _stacked_block(5, "block4_pool", MAPS, inputs=512, clear_first=True)


def _stacked_block(
    block: int, last: str, end: str, *, inputs: int, clear_first: bool
) -> Iterator[_Layer]:
    """A block's convolutions; the rows between photos are cleared before each of them.

    Before the first only with ``clear_first``: a new stack has zeros there.
    """
    use = 0
    for number, outputs in enumerate(_CHANNELS[block], start=1):
        if number > 1 or clear_first:
            cleared = f"{last}_cleared"
            yield _Layer("BinaryOp", [last, f"{ROWS[block]}_{use}"], [cleared], _0=2)
            last, use = cleared, use + 1
        name = end if number == len(_CHANNELS[block]) else f"block{block}_conv{number}"
        yield _convolution(last, name, inputs, outputs)
        last, inputs = name, outputs


def _top() -> Iterator[_Layer]:
    yield _input(FLAT)
    last, inputs = FLAT, 7 * 7 * 512
    for target in ("fc1", DENSE):
        yield _Layer("InnerProduct", [last], [target], _0=4096, _1=1, _2=inputs * 4096, _9=1)
        last, inputs = target, 4096
