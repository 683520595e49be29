"""One contestant of `engine`: a runtime with VGG-16 in a process of its own, over pixels in memory.

``python -m benchmarks.peers.runtime_process NAME MODEL THREADS PIXELS SECONDS START FEATURES``
loads MODEL (the JSON of a ``NetworkSpec``, or the file of a peer), saves the features of the first
photos in the file PIXELS as FEATURES, prints ``ready``, waits for the file START, takes all photos
in turn for SECONDS, and prints one JSON object. Runtimes are imported where they are used: a
process has one, no machine all.
"""

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

CHECKED = 32  # photos whose features are saved
PEER_BATCH = 8  # photos that onnxruntime, openvino and mnn take at once: their file says so
POLL_SECONDS = 0.002
_MEAN_BGR = np.array([103.939, 116.779, 123.68], dtype=np.float32)

Features = Callable[
    [np.ndarray], np.ndarray
]  # uint8 (batch, size, size, 3) to float32 (batch, 512)


def main(
    name: str, model: str, threads: str, pixels: str, seconds: str, start: str, features: str
) -> None:
    told = claim_stdout()
    run, batch_size = RUNTIMES[name](model, int(threads))
    photos = np.load(pixels)
    batches = [photos[at : at + batch_size] for at in range(0, len(photos), batch_size)]
    needed = -(-CHECKED // batch_size)
    np.save(features, np.concatenate([run(batch) for batch in batches[:needed]])[:CHECKED])
    print("ready", file=told, flush=True)
    while not Path(start).exists():
        time.sleep(POLL_SECONDS)
    done, began = 0, time.perf_counter()
    for batch in itertools.cycle(batches):
        run(batch)
        done += len(batch)
        if (took := time.perf_counter() - began) >= float(seconds):
            break
    result = {"photos": done, "photos_per_s": done / took, "peak_rss_bytes": _peak_rss_bytes()}
    print(json.dumps(result), file=told)


def claim_stdout() -> IO[str]:
    """Our stdout; whatever a runtime prints from now on goes to stderr."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


def _peak_rss_bytes() -> int:  # getrusage would count the parent's before exec
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _keras(model: str, _threads: int) -> tuple[Features, int]:
    from keras.applications.vgg16 import preprocess_input

    from benchmarks.peers.bare_keras import BATCH, network
    from processor.network.spec import NetworkSpec

    spec = NetworkSpec.from_json(model)
    keras = network(spec.input_size, spec.weights_path, spec.weights_digest)

    def features(pixels: np.ndarray) -> np.ndarray:
        return keras.predict(preprocess_input(pixels.astype("float32")), verbose=0)

    return features, BATCH


def _own(model: str, threads: int) -> tuple[Features, int]:
    from processor.network.engines import load
    from processor.network.spec import NetworkSpec

    network = load(replace(NetworkSpec.from_json(model), threads=threads))
    return network.features, network.batch_size


def _onnxruntime(model: str, threads: int) -> tuple[Features, int]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": _planes(pixels)})[0], PEER_BATCH


def _openvino(model: str, threads: int) -> tuple[Features, int]:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # its import reports itself
    import openvino

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return lambda pixels: np.array(compiled(_planes(pixels))[0]), PEER_BATCH


def _mnn(model: str, threads: int) -> tuple[Features, int]:
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

    return features, PEER_BATCH


def _planes(pixels: np.ndarray) -> np.ndarray:
    """As ``processor.photos.decode.vgg16_input``, whose packages a peer's environment need not have."""
    return np.ascontiguousarray((pixels[..., ::-1] - _MEAN_BGR).transpose(0, 3, 1, 2))


RUNTIMES: dict[str, Callable[[str, int], tuple[Features, int]]] = {
    "keras": _keras,
    "tensorflow": _own,
    "ncnn": _own,
    "ncnn_one_process": _own,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "mnn": _mnn,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
