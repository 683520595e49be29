"""Bare Keras: the plain loop that people write, in a process of its own; a peer in `pipeline`.

``python -m benchmarks.peers.bare_keras PATHS SIZE WEIGHTS CACHE`` reads the photos of the JSON list in
the file PATHS and prints a :class:`KerasRun`.
"""

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import keras
import numpy as np
from keras.applications.vgg16 import VGG16, preprocess_input

from benchmarks.harness.protocol import answer
from benchmarks.peers.answers import KerasRun
from processor.network.weights import obtain
from processor.network.weights_file import read

BATCH = 32  # what Keras' predict takes by default


def network(size: int, weights_path: str | Path, digest: str, layer: str = "avg_pool") -> Any:
    """Keras' model with the weights of a file as ``processor.network.weights_file`` writes it."""
    top = layer == "fc2"
    pooling = {"avg_pool": "avg", "max_pool": "max"}.get(layer)
    model = VGG16(weights=None, include_top=top, pooling=pooling, input_shape=(size, size, 3))
    for name, array in read(weights_path, include_top=top, digest=digest):
        layer_name, part = name.split("/")
        getattr(model.get_layer(layer_name), part).assign(array)
    return keras.Model(model.input, model.get_layer("fc2").output) if top else model


def features(model: Any, size: int, batch: Sequence[str | IO[bytes]]) -> np.ndarray:
    """What people write: photos, by name or as open files, become float32 (n, 512)."""
    images = [keras.utils.load_img(photo, target_size=(size, size)) for photo in batch]
    arrays = np.stack([keras.utils.img_to_array(image) for image in images])
    predicted: np.ndarray = model.predict(preprocess_input(arrays), verbose=0)
    return predicted


def main(paths_file: str, size: str, weights: str, cache: str) -> None:
    paths = json.loads(Path(paths_file).read_text(encoding="utf-8"))
    obtained = obtain(weights, include_top=False, cache_dir=Path(cache))
    model = network(int(size), obtained.path, obtained.digest)
    # Whole batches only: TensorFlow would trace a shorter one at the end again.
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    if len(batches) > 1 and len(batches[-1]) < BATCH:
        batches.pop()
    features(model, int(size), batches[0])
    warm_at = time.time()
    began = time.perf_counter()
    for batch in batches:
        features(model, int(size), batch)
    seconds = time.perf_counter() - began
    photos = sum(map(len, batches))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer(KerasRun(photos, photos / seconds, warm_at, peak))


if __name__ == "__main__":
    main(*sys.argv[1:])
