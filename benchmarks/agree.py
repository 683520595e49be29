"""How far the engines' features are from Keras' own, at every layer, and whether a PCA sees it.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import command as _command
from benchmarks.harness import photo_source as _photos
from benchmarks.harness import service as _service
from benchmarks.harness.child import BenchError
from benchmarks.harness.command import whole
from processor.__main__ import network_spec
from processor.matrix import pca
from processor.matrix.moments import Statistics
from processor.network.agreement import compare
from processor.network.engine_tensorflow import import_keras
from processor.network.engines import default_engine, load
from processor.network.spec import NetworkSpec
from processor.photos.decode import decode

SEPARATE = 1.05  # axes of nearer variances turn into each other at the least difference
CASES = [("avg_pool", 224), ("max_pool", 224), ("avg_pool", 100), ("max_pool", 100), ("fc2", 224)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every engine went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    paths = _photos.gather(asked.photos, asked.limit, scratch / "photos")
    photos = _photos.describe(paths, drawn=asked.photos is None)
    axes = min(asked.components, len(paths) - 2)
    if axes < 1:
        raise BenchError("a PCA of so few photos tells nothing: take more (--limit)")
    print(
        f"{_photos.line(photos)}\n"
        f"{'':<18}{'engine':<12}{'rel. L2':>10}{'largest':>10}{'axes':>6}{'angle, rad':>12}",
        flush=True,
    )
    result: dict[str, Any] = {}
    for layer, size in CASES:
        spec = _spec(layer, size, scratch)
        pixels = np.stack([decode(path.read_bytes(), size).pixels for path in paths])
        wanted = _keras_features(spec, pixels)
        for engine, features in _features(spec, pixels).items():
            apart = compare(features, wanted)
            keras, own = (pca.fit(Statistics.of(each), axes + 1) for each in (wanted, features))
            span = _separate(keras, axes)
            angle = pca.drift(own.leading(span), keras.leading(span)).angle
            print(
                f"{f'{layer}, {size} px':<18}{engine:<12}{apart.relative_l2:>10.1e}"
                f"{apart.largest:>10.1e}{span:>6}{angle:>12.1e}",
                flush=True,
            )
            name = f"{engine}_{layer}_{size}"
            result |= {
                f"{name}_relative_l2": float(f"{apart.relative_l2:.3g}"),
                f"{name}_largest": float(f"{apart.largest:.3g}"),
                f"{name}_axes": span,
                f"{name}_angle_rad": float(f"{angle:.3g}"),
            }
    return result | {"photos": photos, "settings": _service.overridden()}


def _spec(layer: str, size: int, scratch: Path) -> NetworkSpec:
    """What a service with this layer would run by its default engine, on all cores."""
    environment = _service.settings(scratch / "work", size, {})
    environment |= {"FRUITS_MODEL__LAYER": layer, "FRUITS_MODEL__ENGINE": default_engine()}
    return replace(network_spec(_service.config_of(environment)), threads=0)


def _features(spec: NetworkSpec, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
    """By engine: the default and, everybody's measure, ``tensorflow``."""
    keras = replace(spec, engine="tensorflow", compiled=None)
    return {each.engine: load(each).features(pixels) for each in (spec, keras)}


def _keras_features(spec: NetworkSpec, pixels: np.ndarray) -> np.ndarray:
    _, keras = import_keras()
    from benchmarks.peers.bare_keras import (
        network,  # not at the top: it would let TensorFlow chatter
    )

    model = network(spec.input_size, spec.weights_path, spec.weights_digest, spec.layer)
    prepared = keras.applications.vgg16.preprocess_input(pixels.astype("float32"))
    return model.predict(prepared, verbose=0)


def _separate(model: pca.PCA, most: int) -> int:
    """The most axes, up to ``most``, whose span is well defined: behind them the variance falls."""
    falls = model.explained_variance_[:-1] >= SEPARATE * model.explained_variance_[1:]
    return int(np.flatnonzero(falls[:most]).max(initial=0)) + 1


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser("agree", __doc__)
    _command.add_photos(parser)
    parser.add_argument(
        "--components",
        type=whole(1),
        default=64,
        metavar="K",
        help="axes at most (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
