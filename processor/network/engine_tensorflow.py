"""The engine ``tensorflow``: Keras' own VGG16, on CPU or GPU.

It is the reference that every other engine is compared with.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from processor.errors import NetworkError
from processor.network.spec import LAYERS, Features, NetworkSpec, checked, vgg16_input
from processor.network.weights_file import read
from processor.photos.decode import Pixels

CPU_BATCH_SIZE = 16  # at 224 px 3 % faster than 8, for 0.3 GB more
GPU_BATCH_SIZE = 64

_POOLING = {"avg_pool": "avg", "max_pool": "max"}
_CHATTER = re.compile(
    rb"absl::InitializeLog|oneDNN custom operations|cudart_stub|cpu_feature_guard|"
    rb"To enable the following instructions"
)


def import_keras() -> tuple[Any, Any]:
    """Import TensorFlow and Keras, silenced and set to the conventions of VGG-16's weights."""
    # 3, because at 2 every machine without a GPU logs an error; failures still raise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # ~/.keras/keras.json may say otherwise
    with _without_chatter():
        # Not at the top of the file: it costs 3 s and 0.4 GB, which the driver and workers that run
        # a compiled network are spared.
        import keras
        import tensorflow
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    return tensorflow, keras


class TensorFlowNetwork:
    """See :class:`.spec.Network`."""

    def __init__(self, spec: NetworkSpec) -> None:
        self._spec = spec
        self._tensorflow, keras = import_keras()
        gpus = self._configure()
        self.batch_size = spec.batch_size or (GPU_BATCH_SIZE if gpus else CPU_BATCH_SIZE)
        size, top = spec.input_size, spec.layer == "fc2"
        network = keras.applications.VGG16(
            weights=None,
            include_top=top,
            input_shape=(size, size, 3),
            pooling=_POOLING.get(spec.layer),
        )
        if top:
            network = keras.Model(network.input, network.get_layer("fc2").output)
        for name, array in read(spec.weights_path, include_top=top, digest=spec.weights_digest):
            layer, part = name.split("/")
            getattr(network.get_layer(layer), part).assign(array)
        # One trace for every batch size. Measured and rejected: predict() takes up to 10 % longer,
        # constants instead of variables gain nothing for 0.6 GB more, XLA is slower on a CPU.
        self._run = self._tensorflow.function(
            lambda batch: network(batch, training=False),
            input_signature=[self._tensorflow.TensorSpec((None, size, size, 3), "float32")],
            autograph=False,
        )

    def features(self, pixels: Pixels) -> Features:
        """See :class:`.spec.Network`."""
        spec = self._spec
        spec.check_pixels(pixels)
        result = np.empty((len(pixels), LAYERS[spec.layer]), dtype=np.float32)
        for start in range(0, len(pixels), self.batch_size):
            batch = slice(start, start + self.batch_size)
            result[batch] = self._run(vgg16_input(pixels[batch]))
        return checked(result, spec)

    def _configure(self) -> int:
        """Apply process-wide settings, most before TensorFlow's first tensor; the number of GPUs."""
        config = self._tensorflow.config
        # TF32 keeps 10 bits of a factor, but rows of GPU and CPU workers carry the same model_id.
        config.experimental.enable_tensor_float_32_execution(enabled=False)
        try:
            if self._spec.threads:
                config.threading.set_intra_op_parallelism_threads(self._spec.threads)
                config.threading.set_inter_op_parallelism_threads(1)  # layers run in sequence
            gpus = config.list_physical_devices("GPU")
            for gpu in gpus:
                # Without it one worker takes all of the GPU's memory.
                config.experimental.set_memory_growth(gpu, enable=True)
        except RuntimeError as error:
            raise NetworkError(
                f"cannot give TensorFlow {self._spec.threads} threads, because it is already running "
                "in this process: use the same number for all networks, or a fresh process"
            ) from error
        return len(gpus)


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Drop the start-up messages that TensorFlow writes to stderr before any setting can stop it.

    Everything that the process writes to stderr in the block is held back and then passed on without
    them. Hazard: if TensorFlow aborts the process here (a CPU without AVX), its message is lost.
    """
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _CHATTER.search(line):
                    os.write(2, line)
