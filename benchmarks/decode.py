"""Milliseconds to decode a large photo, reduced, in full and by Keras, and how features differ.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result, whole
from benchmarks.harness.errors import BenchError
from benchmarks.workloads import large_photos
from processor.assembly import network_spec
from processor.errors import RejectedImage
from processor.network.engine_tensorflow import import_keras
from processor.network.engines import load
from processor.network.spec import Network
from processor.photos.decode import decode


@dataclass(frozen=True, slots=True)
class Seconds:
    """By way of decoding, a figure for each photo in each repeat."""

    reduced: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)
    keras: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo could be decoded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = [_write(scratch, number) for number in range(options.count)]
    drawn = photo_source.describe(paths, drawn=True)
    real = photo_source.gather(options.photos, options.limit, scratch) if options.photos else []
    if len(real) == 1:
        raise BenchError("one real photo has no others to be compared with: take more (--limit)")
    print(f"{drawn.line()}; repeats: {options.repeats}", flush=True)
    timed = {size: _time(paths, size, options.repeats) for size in options.sizes}
    result: Result = {}
    for size in options.sizes:  # after all timing, which a network's threads would disturb
        result |= _summarise(size, timed[size])
        network = _network(size, scratch)
        result |= _compare(network, paths, size, label="drawn photos")
        if real:
            result |= _compare(network, real, size, label="real photos", prefix="real_")
    return result | {
        "photos": asdict(drawn),
        "real_photos": asdict(photo_source.describe(real, drawn=False)) if real else None,
        "repeats": options.repeats,
        "settings": settings.overridden(),
    }


def _write(folder: Path, number: int) -> Path:
    path = folder / f"{number}.jpg"
    path.write_bytes(large_photos.draw(number))
    return path


def _time(paths: Sequence[Path], size: int, repeats: int) -> Seconds:
    """The three ways in turn, photo by photo, so that drift affects all of them."""
    _, keras = import_keras()
    timed = Seconds()
    for repeat in range(repeats + 1):
        for path in paths if repeat else paths[:1]:  # once to warm up
            data = path.read_bytes()
            ways: list[tuple[list[float], Callable[[], object]]] = [
                (timed.reduced, partial(decode, data, size)),
                (timed.full, partial(decode, data, size, reduced_decode=False)),
                (timed.keras, partial(keras.utils.load_img, path, target_size=(size, size))),
            ]
            for seconds, way in ways:
                began = time.perf_counter()
                way()
                if repeat:
                    seconds.append(time.perf_counter() - began)
    return timed


def _summarise(size: int, timed: Seconds) -> dict[str, float]:
    """Print the times of one input size; their medians under their names in the JSON."""
    result = {}
    print(f"\n{size} px, ms a photo{'median':>17}   min – max")
    ways = {"reduced": timed.reduced, "full": timed.full, "keras": timed.keras}
    labels = {"reduced": "reduced", "full": "in full", "keras": "Keras' load_img"}
    for name, seconds in ways.items():
        ms = [1e3 * each for each in seconds]
        print(f"{labels[name]:<24}{statistics.median(ms):>9.2f}   {min(ms):.2f} – {max(ms):.2f}")
        result[f"{name}_ms_{size}"] = round(statistics.median(ms), 3)
    for name, label in (("full", "in full : reduced"), ("keras", "Keras : reduced")):
        pairs = zip(ways[name], timed.reduced, strict=True)
        ratios = [other / reduced for other, reduced in pairs]
        print(
            f"{label:<24}{statistics.median(ratios):>9.2f}   {min(ratios):.2f} – {max(ratios):.2f}"
        )
        result[f"{name}_over_reduced_{size}"] = round(statistics.median(ratios), 3)
    return result


def _network(size: int, scratch: Path) -> Network:
    """The service's own, by its default engine unless FRUITS_MODEL__ENGINE says otherwise."""
    return load(network_spec(settings.config_of(settings.environment(scratch / "work", size))))


def _compare(
    network: Network, paths: Sequence[Path], size: int, *, label: str, prefix: str = ""
) -> dict[str, float]:
    """Cosines between features of the reduced and of the full decode, under their names."""
    reduced, full = (_decoded(paths, size, reduced_decode=way) for way in (True, False))
    changed = int((reduced != full).any(axis=(1, 2, 3)).sum())
    cosines = _unit(network.features(reduced)) @ _unit(network.features(full)).T
    same, others = cosines.diagonal(), cosines[~np.eye(len(paths), dtype=bool)]
    print(
        f"cosine of features, {len(paths)} {label}: min {same.min():.7f}, median "
        f"{np.median(same):.7f}, of different photos {np.median(others):.7f}; "
        f"{changed} have different pixels",
        flush=True,
    )
    return {
        f"{prefix}cosine_min_{size}": round(float(same.min()), 7),
        f"{prefix}cosine_median_{size}": round(float(np.median(same)), 7),
        f"{prefix}cosine_of_different_photos_{size}": round(float(np.median(others)), 7),
        f"{prefix}changed_{size}": changed,
    }


def _unit(features: np.ndarray) -> np.ndarray:
    exact = features.astype(np.float64)
    scaled: np.ndarray = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return scaled


def _decoded(paths: Sequence[Path], size: int, *, reduced_decode: bool) -> np.ndarray:
    pixels = []
    for path in paths:
        try:
            photo = decode(path.read_bytes(), size, reduced_decode=reduced_decode)
        except RejectedImage as error:
            raise BenchError(f"{path} cannot be decoded: {error}") from error
        pixels.append(photo.pixels)
    return np.stack(pixels)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("decode", __doc__)
    parser.add_argument(
        "--count",
        type=whole(2),
        default=8,
        metavar="N",
        help="photos to draw (default: %(default)s)",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="real photos, whose features are compared too"
    )
    parser.add_argument(
        "--limit",
        type=whole(0),
        default=64,
        metavar="N",
        help="of DIR, evenly spaced; 0: all (default: %(default)s)",
    )
    command.add_sizes(parser)
    command.add_repeats(parser, 5)
    return parser


if __name__ == "__main__":
    sys.exit(main())
