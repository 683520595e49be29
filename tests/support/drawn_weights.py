"""Drawn weights: VGG-16's arrays as random numbers, their digest, and Keras models to put them in."""

import hashlib

import numpy as np

from processor.network.engine_tensorflow import import_keras
from processor.network.weights_file import layout

NOTOP = layout(include_top=False)


def random_arrays(seed=0):
    generator = np.random.default_rng(seed)
    for name, shape in NOTOP.items():
        yield name, generator.standard_normal(shape, dtype=np.float32)


def reference_digest(arrays):
    """The digest, implemented a second time."""
    digest = hashlib.sha256()
    for name, array in arrays:
        digest.update(f"{name} {array.shape}\n".encode() + array.astype("<f4").tobytes())
    return digest.hexdigest()


def single_threaded_keras():
    """Keras, with as many threads as all networks of the tests: a process can set that only once."""
    tensorflow, keras = import_keras()
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return keras


def keras_model(*, head=False, network="VGG16"):
    keras = single_threaded_keras()
    model = getattr(keras.applications, network)(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    if head:
        flat = keras.layers.Flatten()(model.output)
        model = keras.Model(model.input, keras.layers.Dense(5, name="fc1")(flat))
    return model


def in_one_line(failure):
    assert "\n" not in str(failure.value)
    return str(failure.value)
