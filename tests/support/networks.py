"""Networks under test: pixels as their input, and the distance of their features from Keras' own."""

import hashlib
from dataclasses import replace
from functools import cache

import numpy as np

from processor.network.compiled import COMPILERS
from processor.network.spec import CompiledFile, NetworkSpec
from processor.network.weights_file import read
from tests.support.drawn_weights import single_threaded_keras

SIZE = 48
DIGEST = "0123456789abcdef" * 4


def photos(count, size=SIZE, seed=0):
    """Smooth pictures with some grain, like photos; no two are alike."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    angle, speed = generator.uniform(0, 6, (2, count, 1, 1, 3))
    wave = np.sin(speed * (x[..., None] * np.cos(angle) + y[..., None] * np.sin(angle)) + angle)
    grain = generator.normal(0, 8, (count, size, size, 3))
    return np.clip(127 + 120 * wave + grain, 0, 255).astype(np.uint8)


def difference(found, wanted):
    """The relative L2 distance of each photo's features."""
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    return np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)


@cache
def by_keras(path, count, size, layer):
    """The features of ``photos(count, size)``, computed as Keras' manual shows."""
    keras = single_threaded_keras()
    top = layer == "fc2"
    pooling = {"avg_pool": "avg", "max_pool": "max"}.get(layer)
    model = keras.applications.VGG16(
        weights=None, include_top=top, input_shape=(size, size, 3), pooling=pooling
    )
    for name, array in read(path, include_top=top):
        found, part = name.split("/")
        getattr(model.get_layer(found), part).assign(array)
    if top:
        model = keras.Model(model.input, model.get_layer("fc2").output)
    pixels = photos(count, size).astype(np.float32)
    return model.predict(keras.applications.vgg16.preprocess_input(pixels), verbose=0)


def ready(weights, folder, engine, **changes):
    """A spec that can be loaded; compiled without the comparison, because these tests are one."""
    wanted = replace(
        NetworkSpec(str(weights.path), weights.digest, "avg_pool", SIZE), engine=engine, **changes
    )
    if engine == "tensorflow":
        return wanted
    path = folder / f"{wanted.layer}.{engine}"
    COMPILERS[engine].write(path, weights.path, weights.digest, top=wanted.layer == "fc2")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(wanted, compiled=CompiledFile(str(path), sha256))
