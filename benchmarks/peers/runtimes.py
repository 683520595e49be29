"""The runtimes of `engine`: how each loads VGG-16, and how it is called.

Each is imported where it is used: a process runs only one of them, and hardly any machine has all.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

PEER_BATCH = 8  # photos that onnxruntime, openvino and mnn take at once: their file says so
_MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A loaded network. ``features``: uint8 (batch, size, size, 3) to float32 (batch, 512)."""

    features: Callable[[np.ndarray], np.ndarray]
    batch_size: int


def load(name: str, model: str, threads: int) -> Runtime:
    """Load ``model``: the JSON of a ``NetworkSpec`` for ours and Keras, a file for other runtimes.

    ``threads`` 0: the runtime's default.
    """
    return _LOADERS[name](model, threads)


def _keras(model: str, _threads: int) -> Runtime:
    from keras.applications.vgg16 import preprocess_input

    from benchmarks.peers.bare_keras import BATCH, network
    from processor.network.spec import NetworkSpec

    spec = NetworkSpec.from_json(model)
    keras = network(spec.input_size, spec.weights_path, spec.weights_digest)

    def features(pixels: np.ndarray) -> np.ndarray:
        predicted: np.ndarray = keras.predict(preprocess_input(pixels.astype("float32")), verbose=0)
        return predicted

    return Runtime(features, BATCH)


def _ours(model: str, threads: int) -> Runtime:
    from processor.network import engines
    from processor.network.spec import NetworkSpec

    network = engines.load(replace(NetworkSpec.from_json(model), threads=threads))
    return Runtime(network.features, network.batch_size)


def _onnxruntime(model: str, threads: int) -> Runtime:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Runtime(lambda pixels: session.run(None, {"pixels": _planes(pixels)})[0], PEER_BATCH)


def _openvino(model: str, threads: int) -> Runtime:
    # Importing openvino reports its use to its makers through this module.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return Runtime(lambda pixels: np.array(compiled(_planes(pixels))[0]), PEER_BATCH)


def _mnn(model: str, threads: int) -> Runtime:
    import MNN

    network = MNN.Interpreter(model)
    options = {"backend": "CPU", "numThread": threads, "precision": "high"}
    session = network.createSession(options)
    source, target = network.getSessionInput(session), network.getSessionOutput(session)
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    result = np.empty(target.getShape(), dtype=np.float32)

    def features(pixels: np.ndarray) -> np.ndarray:
        planes = _planes(pixels)
        source.copyFrom(MNN.Tensor(planes.shape, kind, planes, order))
        network.runSession(session)
        held = MNN.Tensor(result.shape, kind, result, order)
        target.copyToHostTensor(held)
        return np.array(held.getNumpyData())

    return Runtime(features, PEER_BATCH)


def _planes(pixels: np.ndarray) -> np.ndarray:
    """As ``processor.photos.decode.vgg16_input``, whose packages a peer's environment need not have."""
    return np.ascontiguousarray((pixels[..., ::-1] - _MEAN_BGR).transpose(0, 3, 1, 2))


_LOADERS: dict[str, Callable[[str, int], Runtime]] = {
    "keras": _keras,
    "tensorflow": _ours,
    "winograd": _ours,
    "winograd_one_process": _ours,
    "ncnn": _ours,
    "ncnn_one_process": _ours,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "mnn": _mnn,
}
