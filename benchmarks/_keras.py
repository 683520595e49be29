"""Bare Keras: the plain loop people write, in a process of its own; the peer of `pipeline`.

``python -m benchmarks._keras PATHS SIZE WEIGHTS CACHE`` reads the photos of the JSON list in the file
PATHS and prints one JSON object.
"""

import json
import resource
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras.applications.vgg16 import VGG16, preprocess_input

from processor.weights import obtain
from processor.weights_file import read

BATCH = 32  # what Keras' predict takes by default


def main(paths_file: str, size: str, weights: str, cache: str) -> None:
    paths = json.loads(Path(paths_file).read_text(encoding="utf-8"))
    target = (int(size), int(size))
    model = VGG16(weights=None, include_top=False, pooling="avg", input_shape=(*target, 3))
    obtained = obtain(weights, include_top=False, cache_dir=Path(cache))
    for name, array in read(obtained.path, include_top=False, digest=obtained.digest):
        layer, part = name.split("/")
        getattr(model.get_layer(layer), part).assign(array)

    def features(batch: list[str]) -> np.ndarray:
        images = [keras.utils.load_img(path, target_size=target) for path in batch]
        arrays = np.stack([keras.utils.img_to_array(image) for image in images])
        return model.predict(preprocess_input(arrays), verbose=0)

    # Whole batches only: a shorter one at the end would be traced anew.
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    if len(batches) > 1 and len(batches[-1]) < BATCH:
        batches.pop()
    features(batches[0])
    warm_at = time.time()
    began = time.perf_counter()
    for batch in batches:
        features(batch)
    seconds = time.perf_counter() - began
    photos = sum(map(len, batches))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "photos": photos,
        "photos_per_s": photos / seconds,
        "warm_at": warm_at,
        "peak_rss_bytes": peak,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
