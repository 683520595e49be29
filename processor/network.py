"""The network: VGG-16 cut at one layer, from pixels to features.

Keras is the source of truth: it builds the network, and every engine must agree with it.
"""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from processor.images import PREPROCESSING, PREPROCESSING_FULL, vgg16_input
from processor.weights_file import read

LAYERS = {"avg_pool": 512, "max_pool": 512, "fc2": 4096}  # layer: features of one photo

_POOLING = {"avg_pool": "avg", "max_pool": "max"}
_CHATTER = re.compile(
    rb"absl::InitializeLog|oneDNN custom operations|cudart_stub|cpu_feature_guard|"
    rb"To enable the following instructions"
)


class NetworkError(Exception):
    """The network cannot run here, or gives features that cannot be stored."""


@dataclass(frozen=True)
class NetworkSpec:
    """All that decides features, and how to compute them here; hashable and picklable.

    Made by the driver, which has checked the configuration; ValueError for what cannot be.
    """

    weights_path: str  # as processor.weights_file writes, on the machine that loads it
    weights_digest: str  # of that file; a network with other weights is not loaded
    layer: str  # one of LAYERS
    input_size: int  # pixels on each side, at least 32; with fc2 224
    engine: str = "tensorflow"  # one of ENGINES
    threads: int = 0  # 0: as many as TensorFlow sees cores
    batch_size: int = 8  # photos at once: 16 are 3 % faster at 224 px and take 0.3 GB more
    preprocessing: str = PREPROCESSING  # PREPROCESSING_FULL if photos are decoded in full

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise ValueError(f"no layer {self.layer!r}: choose one of {', '.join(LAYERS)}")
        if self.input_size < 32:
            raise ValueError(f"input_size {self.input_size} is below 32, VGG-16's least")
        if self.layer == "fc2" and self.input_size != 224:
            raise ValueError(f"layer 'fc2' needs input_size 224, not {self.input_size}")
        if self.engine not in ENGINES:
            raise ValueError(f"no engine {self.engine!r}: choose one of {', '.join(ENGINES)}")
        if self.threads < 0 or self.batch_size < 1:
            raise ValueError(
                "threads must be at least 0 and batch_size at least 1, "
                f"not {self.threads} and {self.batch_size}"
            )
        if not re.fullmatch("[0-9a-f]{64}", self.weights_digest):
            raise ValueError(f"weights_digest {self.weights_digest!r} is no SHA-256 in hex")
        if self.preprocessing not in (PREPROCESSING, PREPROCESSING_FULL):
            raise ValueError(f"no preprocessing {self.preprocessing!r} in processor.images")

    @property
    def model_id(self) -> str:
        """What every stored row carries: all that decides features, and nothing else."""
        digest = self.weights_digest[:16]
        return f"vgg16-{self.layer}-{self.input_size}-{digest}-{self.preprocessing}"


class Network(Protocol):
    """A loaded network; may be called from many threads."""

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """Features of each photo: uint8 RGB (n, size, size, 3) becomes float32 (n, dimension).

        Row i depends on photo i alone, within 1e-6 (relative L2), whatever else is in the call.
        Memory grows with batch_size, not with n. n may be 0. ValueError for pixels of another
        shape or type, NetworkError for features that are NaN or infinite.
        """
        ...


def load(spec: NetworkSpec) -> Network:
    """The network for ``spec``, loaded once in each process; thread-safe.

    The first time it takes 7 s and 0.8 GB, with fc2 14 s and 3 GB (then 2 GB). WeightsError when
    the weights file is missing, damaged or not what ``weights_digest`` says, NetworkError when the
    engine cannot run. A failure is not remembered: the next call tries again.
    """
    with _loading:
        if spec not in _loaded:
            _loaded[spec] = ENGINES[spec.engine](spec)
        return _loaded[spec]


def import_keras() -> tuple[Any, Any]:
    """TensorFlow and Keras, quiet, and with the conventions VGG-16's weights were made under."""
    # 3, for at 2 every machine without a GPU reports an error; failures still raise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # ~/.keras/keras.json may say otherwise
    with _without_chatter():
        # Not at the top: it costs 3 s and 0.4 GB, for which the driver and workers that run a
        # compiled network have no use.
        import keras
        import tensorflow
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    return tensorflow, keras


class _TensorFlowNetwork:
    def __init__(self, spec: NetworkSpec) -> None:
        self._spec = spec
        self._tensorflow, keras = import_keras()
        self._configure()
        size, top = spec.input_size, spec.layer == "fc2"
        model = keras.applications.VGG16(
            weights=None,
            include_top=top,
            input_shape=(size, size, 3),
            pooling=_POOLING.get(spec.layer),
        )
        if top:
            model = keras.Model(model.input, model.get_layer("fc2").output)
        for name, array in read(spec.weights_path, include_top=top, digest=spec.weights_digest):
            layer, part = name.split("/")
            getattr(model.get_layer(layer), part).assign(array)
        # One trace, whatever the batch: predict() takes up to 10 % more time, constants instead
        # of variables gain nothing and take 0.6 GB more, XLA is slower on a CPU.
        self._run = self._tensorflow.function(
            lambda batch: model(batch, training=False),
            input_signature=[self._tensorflow.TensorSpec((None, size, size, 3), "float32")],
            autograph=False,
        )

    def features(self, pixels: np.ndarray) -> np.ndarray:
        spec = self._spec
        if pixels.shape[1:] != (spec.input_size, spec.input_size, 3):
            wanted = f"(n, {spec.input_size}, {spec.input_size}, 3)"
            raise ValueError(f"pixels are {pixels.shape}, the network reads {wanted}")
        result = np.empty((len(pixels), LAYERS[spec.layer]), dtype=np.float32)
        for start in range(0, len(pixels), spec.batch_size):
            batch = slice(start, start + spec.batch_size)
            result[batch] = self._run(vgg16_input(pixels[batch]))
        if not np.isfinite(result).all():
            raise NetworkError(
                f"{spec.model_id} gave NaN or infinite features: its weights are useless; "
                "set model.weights to others"
            )
        return result

    def _configure(self) -> None:
        """Process-wide settings; most must come before TensorFlow starts, with its first tensor."""
        config = self._tensorflow.config
        # TF32 keeps 10 bits of a factor; rows of GPU and CPU workers carry the same model_id.
        config.experimental.enable_tensor_float_32_execution(False)
        try:
            if self._spec.threads:
                config.threading.set_intra_op_parallelism_threads(self._spec.threads)
                config.threading.set_inter_op_parallelism_threads(1)  # layers follow one another
            for gpu in config.list_physical_devices("GPU"):
                config.experimental.set_memory_growth(gpu, True)  # else one worker takes it all
        except RuntimeError as error:
            raise NetworkError(
                f"cannot give TensorFlow {self._spec.threads} threads, it runs in this process "
                "already: use one number for all networks, or a fresh process"
            ) from error


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Drop the greetings that TensorFlow writes to stderr before any setting can stop it.

    All that the process writes to stderr meanwhile is held back and then passed on without them.
    Hazard: if TensorFlow aborts the process here (a CPU without AVX), its last words are lost.
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


# The place for another engine: a function that loads it.
ENGINES: dict[str, Callable[[NetworkSpec], Network]] = {"tensorflow": _TensorFlowNetwork}

_loaded: dict[NetworkSpec, Network] = {}
_loading = threading.Lock()
