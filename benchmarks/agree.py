"""How far the engines' features are from Keras' own, at every layer, and whether a PCA notices.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result
from benchmarks.harness.errors import BenchError
from processor.assembly import network_spec
from processor.errors import WeightsError
from processor.matrix import pca
from processor.matrix.moments import Statistics
from processor.network.agreement import compare
from processor.network.compiled import COMPILERS
from processor.network.engine_tensorflow import import_keras
from processor.network.engines import load
from processor.network.spec import NetworkSpec
from processor.photos.decode import decode

SEPARATE = 1.05  # components of closer variances turn into each other at the slightest difference
CASES = [("avg_pool", 224), ("max_pool", 224), ("avg_pool", 100), ("max_pool", 100), ("fc2", 224)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every engine succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    most = min(options.components, len(paths) - 2)
    if most < 1:
        raise BenchError("a PCA of so few photos is meaningless: take more (--limit)")
    print(
        f"{photos.line()}\n"
        f"{'':<18}{'engine':<12}{'rel. L2':>10}{'largest':>10}{'comp.':>6}{'angle, rad':>12}",
        flush=True,
    )
    result: Result = {}
    left_out: list[str] = []
    for layer, size in CASES:
        pixels = np.stack([decode(path.read_bytes(), size).pixels for path in paths])
        try:
            plain = _spec("tensorflow", layer, size, scratch)
        except WeightsError as error:  # those of a file without the top have no fc2
            left_out.append(f"{layer}, {size} px")
            print(f"left out: {layer}, {size} px: {error}", flush=True)
            continue
        wanted = _keras_features(plain, pixels)
        for engine in (*COMPILERS, "tensorflow"):  # the last one as a yardstick
            features = load(_spec(engine, layer, size, scratch)).features(pixels)
            result |= _compare(f"{layer}, {size} px", engine, features, wanted, most)
    if len(left_out) == len(CASES):
        raise BenchError("no layer could be compared")
    return result | {
        "left_out": left_out,
        "photos": asdict(photos),
        "settings": settings.overridden(),
    }


def _compare(
    case: str, engine: str, features: np.ndarray, wanted: np.ndarray, most: int
) -> dict[str, float]:
    """Print the row of one engine; its figures under their names in the JSON."""
    distance = compare(features, wanted)
    keras, own = (pca.fit(Statistics.of(each), most + 1) for each in (wanted, features))
    span = _separate(keras, most)
    angle = pca.drift(own.leading(span), keras.leading(span)).angle
    print(
        f"{case:<18}{engine:<12}{distance.relative_l2:>10.1e}"
        f"{distance.largest:>10.1e}{span:>6}{angle:>12.1e}",
        flush=True,
    )
    name = f"{engine}_{case.removesuffix(' px').replace(', ', '_')}"
    return {
        f"{name}_relative_l2": float(f"{distance.relative_l2:.3g}"),
        f"{name}_largest": float(f"{distance.largest:.3g}"),
        f"{name}_components": span,
        f"{name}_angle_rad": float(f"{angle:.3g}"),
    }


def _spec(engine: str, layer: str, size: int, scratch: Path) -> NetworkSpec:
    """What a service with this engine and layer would run, on all cores."""
    environment = settings.environment(scratch / "work", size, {})
    environment |= {"FRUITS_MODEL__LAYER": layer, "FRUITS_MODEL__ENGINE": engine}
    return replace(network_spec(settings.config_of(environment)), threads=0)


def _keras_features(spec: NetworkSpec, pixels: np.ndarray) -> np.ndarray:
    _, keras = import_keras()  # which keeps TensorFlow quiet, so before the next import
    from benchmarks.peers.bare_keras import network

    model = network(spec.input_size, spec.weights_path, spec.weights_digest, spec.layer)
    prepared = keras.applications.vgg16.preprocess_input(pixels.astype("float32"))
    predicted: np.ndarray = model.predict(prepared, verbose=0)
    return predicted


def _separate(model: pca.PCA, most: int) -> int:
    """The most components, up to ``most``, whose span is well defined: the variance falls after them."""
    falls = model.explained_variance_[:-1] >= SEPARATE * model.explained_variance_[1:]
    return int(np.flatnonzero(falls[:most]).max(initial=0)) + 1


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("agree", __doc__)
    command.add_photos(parser)
    command.add_components(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
