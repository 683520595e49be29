"""Milliseconds to decode a large photo: reduced, in full, and by Keras; and what reduced costs features.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import command as _command
from benchmarks.harness import photo_source as _photos
from benchmarks.harness import service as _service
from benchmarks.harness.child import BenchError
from benchmarks.harness.command import whole
from benchmarks.workloads import large_photos as _large
from processor.__main__ import network_spec
from processor.network.engine_tensorflow import import_keras
from processor.network.engines import load
from processor.network.spec import Network
from processor.photos.containers import RejectedImage
from processor.photos.decode import decode

Seconds = dict[str, list[float]]  # by way of decoding, a figure for each photo in each repeat


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo could be decoded."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    paths = [_write(scratch, number) for number in range(asked.count)]
    drawn = _photos.describe(paths, drawn=True)
    real = _photos.gather(asked.photos, asked.limit, scratch) if asked.photos else []
    if len(real) == 1:
        raise BenchError("one real photo has no others to be compared with: take more (--limit)")
    print(f"{_photos.line(drawn)}; repeats: {asked.repeats}", flush=True)
    result: dict[str, Any] = {}
    took = {size: _time(paths, size, asked.repeats) for size in asked.sizes}
    for size in asked.sizes:  # afterwards: a network's threads would disturb
        _summarise(size, took[size], result)
        network = _network(size, scratch)
        _compare(network, paths, size, "drawn photos", "", result)
        if real:
            _compare(network, real, size, "real photos", "real_", result)
    return result | {
        "photos": drawn,
        "real_photos": _photos.describe(real, drawn=False) if real else None,
        "repeats": asked.repeats,
        "settings": _service.overridden(),
    }


def _write(folder: Path, number: int) -> Path:
    path = folder / f"{number}.jpg"
    path.write_bytes(_large.draw(number))
    return path


def _time(paths: Sequence[Path], size: int, repeats: int) -> Seconds:
    """The three ways in turn, photo by photo, so that drift meets all of them."""
    _, keras = import_keras()
    took: Seconds = {"reduced": [], "full": [], "keras": []}
    for repeat in range(repeats + 1):
        for path in paths if repeat else paths[:1]:  # once to warm up
            data = path.read_bytes()
            ways: dict[str, Callable[[], Any]] = {
                "reduced": partial(decode, data, size),
                "full": partial(decode, data, size, reduced_decode=False),
                "keras": partial(keras.utils.load_img, path, target_size=(size, size)),
            }
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                if repeat:
                    took[name].append(time.perf_counter() - began)
    return took


def _summarise(size: int, took: Seconds, result: dict[str, Any]) -> None:
    """Print the times of one input size and put their medians into ``result``."""
    print(f"\n{size} px, ms a photo{'median':>17}   min – max")
    for name, label in (("reduced", "reduced"), ("full", "in full"), ("keras", "Keras' load_img")):
        ms = [1e3 * seconds for seconds in took[name]]
        print(f"{label:<24}{statistics.median(ms):>9.2f}   {min(ms):.2f} – {max(ms):.2f}")
        result[f"{name}_ms_{size}"] = round(statistics.median(ms), 3)
    for name, label in (("full", "in full : reduced"), ("keras", "Keras : reduced")):
        pairs = zip(took[name], took["reduced"], strict=True)
        ratios = [other / reduced for other, reduced in pairs]
        print(
            f"{label:<24}{statistics.median(ratios):>9.2f}   {min(ratios):.2f} – {max(ratios):.2f}"
        )
        result[f"{name}_over_reduced_{size}"] = round(statistics.median(ratios), 3)


def _network(size: int, scratch: Path) -> Network:
    """The service's own, by its default engine unless FRUITS_MODEL__ENGINE says otherwise."""
    return load(network_spec(_service.config_of(_service.settings(scratch / "work", size))))


def _compare(
    network: Network,
    paths: Sequence[Path],
    size: int,
    label: str,
    prefix: str,
    result: dict[str, Any],
) -> None:
    """Cosines between features of the reduced and of the full decode, into ``result``."""
    reduced, full = (_decoded(paths, size, reduced_decode=way) for way in (True, False))
    changed = int((reduced != full).any(axis=(1, 2, 3)).sum())
    cosines = _unit(network.features(reduced)) @ _unit(network.features(full)).T
    same, others = cosines.diagonal(), cosines[~np.eye(len(paths), dtype=bool)]
    print(
        f"cosine of features, {len(paths)} {label}: min {same.min():.7f}, median "
        f"{np.median(same):.7f}, of different photos {np.median(others):.7f}; "
        f"{changed} have other pixels",
        flush=True,
    )
    result |= {
        f"{prefix}cosine_min_{size}": round(float(same.min()), 7),
        f"{prefix}cosine_median_{size}": round(float(np.median(same)), 7),
        f"{prefix}cosine_of_different_photos_{size}": round(float(np.median(others)), 7),
        f"{prefix}changed_{size}": changed,
    }


def _unit(features: np.ndarray) -> np.ndarray:
    exact = features.astype(np.float64)
    return exact / np.linalg.norm(exact, axis=1, keepdims=True)


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
    parser = _command.parser("decode", __doc__)
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
    _command.add_sizes(parser)
    _command.add_repeats(parser, 5)
    return parser


if __name__ == "__main__":
    sys.exit(main())
