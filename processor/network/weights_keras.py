"""Keras' weights: its ImageNet download and its containers become a weights file.

Runs in its own process, ``python -m processor.network.weights_keras SOURCE TARGET top|notop``: the
caller is a Spark driver, which should not carry TensorFlow's 0.5 GB and threads for the rest of its
life to read one file. Exit status 0, or 1 with the reason as the only line on stdout.
"""

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from processor.errors import WeightsError
from processor.network.engine_tensorflow import import_keras
from processor.network.weights_file import Array, layout, one_line, write

IMAGENET = "imagenet"
_STALLED_SECONDS = 30


def convert(source: str, target: Path, *, include_top: bool) -> None:
    """Write the weights of ``source``, :data:`IMAGENET` or a file, to ``target``.

    Imports TensorFlow. Memory: 0.9 GB, with the top 3 GB. Keras keeps its download in its own
    cache (``KERAS_HOME``, else ``~/.keras``) and verifies it there on each use. Raises like
    :func:`processor.network.weights_file.write`, and WeightsError if Keras cannot get or read them.
    """
    if source == IMAGENET:
        network = _imagenet(include_top=include_top)
    else:
        network = _from_file(source, include_top=include_top)
    arrays = _arrays(network, include_top=include_top)
    write(target, arrays, include_top=include_top, origin=source)


def _imagenet(*, include_top: bool) -> Any:
    _, keras = import_keras()
    socket.setdefaulttimeout(_STALLED_SECONDS)  # Keras sets none: a dead connection would hang us
    try:
        return keras.applications.VGG16(weights="imagenet", include_top=include_top)
    except Exception as error:  # Keras raises bare Exceptions here
        raise WeightsError(
            f"cannot download ImageNet weights ({one_line(error)}): allow HTTPS to "
            "storage.googleapis.com, or set model.weights to a file, an s3:// object with "
            "#sha256=, or random"
        ) from error


def _from_file(path: str, *, include_top: bool) -> Any:
    old = path.endswith(".h5") and not path.endswith(".weights.h5")
    try:
        if old:
            _check_order(path, include_top=include_top)
        network = _blank(include_top=include_top)
        # Keras only warns of arrays that it skips; here they stay NaN, which `write` refuses.
        with warnings.catch_warnings(action="ignore"):
            network.load_weights(path, **({"by_name": True} if old else {}))
    except Exception as error:  # h5py and Keras raise all kinds of exceptions for damaged files
        top = "with its top (fc1, fc2), " if include_top else ""
        raise WeightsError(
            f"cannot read VGG-16 weights from {path} ({one_line(error)}): give a file in which Keras "
            f"saved its VGG16, {top}named .weights.h5, .keras, or .h5 if in the old format"
        ) from error
    return network


def _blank(*, include_top: bool) -> Any:
    tensorflow, keras = import_keras()
    network = keras.applications.VGG16(weights=None, include_top=include_top)
    if include_top:  # the classifier after fc2 may be for any classes
        network = keras.Model(network.input, network.get_layer("fc2").output)
    for variable in network.variables:
        variable.assign(tensorflow.fill(variable.shape, np.float32(np.nan)))
    return network


def _check_order(path: str, *, include_top: bool) -> None:
    """Raise ValueError unless the file's layers begin with VGG-16's.

    Loading by name, which lets a file with a top serve a network without one, does not check this: it
    would load those layers of VGG-19 that have the same names, or nothing at all.
    """
    import h5py  # only here, with Keras, which needs it

    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            raise ValueError("not in the old format")
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs["layer_names"]]
        found = [name for name in names if len(group[name].attrs["weight_names"])]
    wanted = dict.fromkeys(name.split("/")[0] for name in layout(include_top=include_top))
    for at, name in enumerate(wanted):
        if found[at : at + 1] != [name]:
            raise ValueError(f"it has {(found[at:] or ['no layer'])[0]} in the place of {name}")


def _arrays(network: Any, *, include_top: bool) -> Iterator[tuple[str, Array]]:
    for name in layout(include_top=include_top):
        layer, part = name.split("/")
        yield name, getattr(network.get_layer(layer), part).value.numpy()


def main(arguments: Sequence[str]) -> int:
    """Run the process that the module's docstring describes; its exit status."""
    source, target, top = arguments
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # a GPU would not help here, and may be full
    try:
        # Keras draws the download's progress on stdout.
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            convert(source, Path(target), include_top=top == "top")
    except WeightsError as error:
        print(error)
        return 1
    except OSError as error:
        print(
            f"cannot write {target} ({one_line(error)}): make room there, 1.2 GB, or choose another "
            "service.cache_dir"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
