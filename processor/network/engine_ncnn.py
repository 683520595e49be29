"""The engine ``ncnn``: the compiled network, on CPU, by https://github.com/Tencent/ncnn.

Its Winograd convolutions (Lavin and Gray 2015, arXiv:1509.09308) need fewer multiplications than the
definition, so it is faster than the machine's peak rate would allow for plain ones. Neither
TensorFlow nor the weights file is needed here.
"""

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from processor.errors import NetworkError
from processor.network import ncnn_graph as graph
from processor.network.spec import (
    LAYERS,
    Features,
    NetworkSpec,
    checked,
    vgg16_input,
)
from processor.photos.decode import Pixels

Maps = npt.NDArray[np.float32]  # channels first: (channels, rows, columns), with photos stacked

MIN_BATCH = 8  # with fewer photos the weights of blocks 4 and 5 are fetched more often
STACK_ROWS = 240  # of block 4; 8 photos of 224 px, 17 of 100 (where 16 are 3 % faster than 8)


class NcnnNetwork:
    """See :class:`.spec.Network`; calls from several threads are serialised."""

    def __init__(self, spec: NetworkSpec) -> None:
        if spec.compiled is None:
            raise ValueError("engine 'ncnn' needs a compiled file, see processor.network.compiled")
        self.batch_size = spec.batch_size or max(MIN_BATCH, STACK_ROWS // _pitch(spec.input_size))
        self._spec = spec
        self._lock = threading.Lock()
        self._ncnn = import_ncnn()
        self._net = self._load(spec.compiled.verified())

    def features(self, pixels: Pixels) -> Features:
        """See :class:`.spec.Network`."""
        spec = self._spec
        spec.check_pixels(pixels)
        result = np.empty((len(pixels), LAYERS[spec.layer]), dtype=np.float32)
        with self._lock:
            for start in range(0, len(pixels), self.batch_size):
                batch = slice(start, start + self.batch_size)
                result[batch] = self._head(self._maps(pixels[batch]))
        return checked(result, spec)

    def _load(self, path: Path) -> Any:
        net = self._ncnn.Net()
        options = net.opt
        options.num_threads = self._spec.threads or len(os.sched_getaffinity(0))
        options.use_vulkan_compute = False
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = options.use_bf16_packed = False  # float32 throughout
        top = self._spec.layer == "fc2"
        if net.load_param_mem(graph.text(top=top)) != 0 or net.load_model(str(path)) != 0:
            raise NetworkError(f"ncnn cannot load {path}: is there enough memory for it?")
        return net

    def _maps(self, pixels: Pixels) -> Maps:
        """The output of block 5 before its pooling: (512, n, height, width)."""
        count, size = len(pixels), self._spec.input_size
        height, pitch = size // 8, _pitch(size)  # a photo's rows in block 4, without and with zeros
        stack = np.zeros((256, count, pitch, height), dtype=np.float32)
        for index, photo in enumerate(vgg16_input(pixels).transpose(0, 3, 1, 2)):
            inputs = {graph.PIXELS: np.ascontiguousarray(photo)}
            stack[:, index, :height] = self._run(inputs, graph.LOWER)
        inputs = {
            graph.STACK: stack.reshape(256, -1, height),
            graph.ROWS[4]: _mask(count, pitch, height),
            graph.ROWS[5]: _mask(count, pitch // 2, height // 2),
        }
        maps = self._run(inputs, graph.MAPS)
        return maps.reshape(512, count, pitch // 2, height // 2)[:, :, : height // 2]

    def _head(self, maps: Maps) -> Features:
        """Block 5's pooling, then the layer of the spec: (n, dimension)."""
        _, count, height, width = maps.shape
        pooled = np.maximum(maps[..., : width - 1 : 2], maps[..., 1::2])
        pooled = np.maximum(pooled[:, :, : height - 1 : 2], pooled[:, :, 1::2])
        match self._spec.layer:
            case "avg_pool":
                features: Features = pooled.mean(axis=(2, 3)).T
            case "max_pool":
                features = pooled.max(axis=(2, 3)).T
            case _:
                flat = np.ascontiguousarray(pooled.transpose(1, 2, 3, 0)).reshape(count, -1)
                features = self._run({graph.FLAT: flat}, graph.DENSE)
        return features

    def _run(self, inputs: dict[str, Maps], output: str) -> Maps:
        extractor = self._net.create_extractor()
        # Mat does not copy, so `inputs` must outlive the extraction.
        mats = {name: self._ncnn.Mat(array) for name, array in inputs.items()}
        for name, mat in mats.items():
            extractor.input(name, mat)
        status, result = extractor.extract(output)
        if status != 0:
            raise NetworkError(
                f"ncnn failed with status {status}: is there enough memory for a batch?"
            )
        return np.array(result)  # a copy, because ncnn owns the memory


def import_ncnn() -> Any:
    """Import the package; raises :class:`NetworkError` if it cannot be loaded here."""
    try:
        # Not at the top of the file: on a platform without a wheel the service runs on TensorFlow.
        import ncnn
    except ImportError as error:
        raise NetworkError(
            f"ncnn cannot be loaded here ({error}): set model.engine to tensorflow, or reinstall "
            "requirements.txt on a platform for which ncnn has a wheel"
        ) from error
    return ncnn


def _pitch(size: int) -> int:
    """Rows of block 4's stack from one photo to the next; even, because pooling follows."""
    return 2 * (size // 16 + 1)


@lru_cache(maxsize=8)
def _mask(count: int, pitch: int, height: int) -> Maps:
    """For square maps of ``height``: 1 in each photo's rows, 0 in the rows up to the next photo."""
    mask = np.zeros((1, count, pitch, height), dtype=np.float32)
    mask[:, :, :height] = 1
    return mask.reshape(1, -1, height)
