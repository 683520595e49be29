"""Photos a second of the network alone: our engines against Keras and, where installed, other runtimes.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import command as _command
from benchmarks.harness import service as _service
from benchmarks.harness.command import whole
from benchmarks.peers.contestants import PEERS, Field, prepare, run
from benchmarks.peers.runtime_process import CHECKED
from processor.network.agreement import compare
from processor.network.weights_file import layout

SGEMM_SIDE = 4096


@dataclass(frozen=True, slots=True)
class Measured:
    """One contestant in one repeat; ratios are to what ran in the same repeat."""

    photos_per_s: float
    over_keras: float
    over_direct_limit: float
    relative_l2: float
    largest: float
    peak_rss_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every contestant went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    fields: list[Field] = []
    peers: dict[str, str] = {}
    for size in asked.sizes:
        field, peers = prepare(size, asked.peers_python, scratch)
        fields.append(field)
    _tell_peers(peers)
    rates: list[float] = []
    found: dict[int, dict[str, list[Measured]]] = {size: {} for size in asked.sizes}
    for repeat in range(1, asked.repeats + 1):
        rates.append(sgemm_gflops())
        for field in fields:
            for name, measured in _repeat(field, asked.seconds, rates[-1]).items():
                found[field.size].setdefault(name, []).append(measured)
            told = ", ".join(
                f"{name} {runs[-1].photos_per_s:.2f}" for name, runs in found[field.size].items()
            )
            print(f"repeat {repeat}, {field.size} px, photos/s: {told}", flush=True)
    result: dict[str, Any] = {"sgemm_gflops": round(statistics.median(rates), 1)}
    for field in fields:
        _summarise(field, found[field.size], result)
    return result | {
        "repeats": asked.repeats,
        "seconds": asked.seconds,
        "settings": _service.overridden(),
        "peers": peers,
        "runs": {
            f"{name}_{size}": [round(each.photos_per_s, 3) for each in runs]
            for size, by_name in found.items()
            for name, runs in by_name.items()
        },
    }


def gflop_per_photo(size: int) -> float:
    """Multiplications and additions of VGG-16's 13 convolutions as they are defined, in 1e9."""
    total, block = 0, "block1"
    for name, shape in layout(include_top=False).items():
        if name.endswith("/kernel"):
            if not name.startswith(block):
                size, block = size // 2, name[: len(block)]  # an odd row or column is left out
            total += 2 * size * size * int(np.prod(shape))
    return total / 1e9


def sgemm_gflops() -> float:
    """What this machine multiplies plainly: NumPy's float32 product of square matrices, all cores."""
    generator = np.random.default_rng(0)
    left, right = generator.random((2, SGEMM_SIDE, SGEMM_SIDE), dtype=np.float32)
    product = left @ right
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        np.matmul(left, right, out=product)
        seconds.append(time.perf_counter() - began)
    return 2 * SGEMM_SIDE**3 / min(seconds) / 1e9


def _tell_peers(peers: dict[str, str]) -> None:
    there = [f"{name} {peers[package]}" for name, package in PEERS.items() if package in peers]
    missing = [name for name, package in PEERS.items() if package not in peers]
    if there and "onnx" not in peers:
        print(f"left out: {', '.join(there)}: without the package onnx they have no model")
    elif there:
        print(f"peers: {', '.join(there)}")
    if missing:
        print(f"left out, not installed: {', '.join(missing)}")


def _repeat(field: Field, seconds: float, sgemm: float) -> dict[str, Measured]:
    gflop = gflop_per_photo(field.size)
    found: dict[str, Measured] = {}
    wanted = keras = None
    for contestant in field.contestants:  # Keras first: the others are compared with it
        rate, rss, features = run(field, contestant, seconds)
        if wanted is None or keras is None:
            wanted, keras = features[0], rate
        apart = [compare(each, wanted) for each in features]
        found[contestant.name] = Measured(
            photos_per_s=rate,
            over_keras=rate / keras,
            over_direct_limit=rate * gflop / sgemm,
            relative_l2=max(each.relative_l2 for each in apart),
            largest=max(each.largest for each in apart),
            peak_rss_mb=rss / 1e6,
        )
    return found


def _summarise(field: Field, found: dict[str, list[Measured]], result: dict[str, Any]) -> None:
    """Print the table of one input size and put its medians into ``result``."""
    print(
        f"\n{field.size} px, {gflop_per_photo(field.size):.2f} GFLOP a photo, differences over "
        f"{CHECKED} photos; plain multiply limit: {result['sgemm_gflops']:.0f} GFLOP/s\n"
        f"{'':<18}{'processes':>9}{'photos/s':>10}   {'min – max':<16}"
        f"{': Keras':>8}{': limit':>9}{'rel. L2':>10}{'largest':>10}{'RSS, MB':>9}"
    )
    result[f"gflop_per_photo_{field.size}"] = round(gflop_per_photo(field.size), 4)
    for contestant in field.contestants:
        runs = found[contestant.name]
        rates = [each.photos_per_s for each in runs]
        over = statistics.median(each.over_keras for each in runs)
        limit = statistics.median(each.over_direct_limit for each in runs)
        relative_l2 = max(each.relative_l2 for each in runs)
        largest = max(each.largest for each in runs)
        rss = statistics.median(each.peak_rss_mb for each in runs)
        threads = contestant.threads or "?"
        spread = f"{min(rates):.2f} – {max(rates):.2f}"
        print(
            f"{contestant.name:<18}{f'{contestant.processes} × {threads}':>9}"
            f"{statistics.median(rates):>10.2f}   {spread:<16}"
            f"{over:>8.2f}{limit:>9.2f}{relative_l2:>10.1e}{largest:>10.1e}{rss:>9.0f}"
        )
        result |= {
            f"{contestant.name}_photos_per_s_{field.size}": round(statistics.median(rates), 3),
            f"{contestant.name}_over_keras_{field.size}": round(over, 3),
            f"{contestant.name}_over_direct_limit_{field.size}": round(limit, 3),
            f"{contestant.name}_relative_l2_{field.size}": float(f"{relative_l2:.3g}"),
            f"{contestant.name}_largest_{field.size}": float(f"{largest:.3g}"),
            f"{contestant.name}_peak_rss_mb_{field.size}": round(rss, 1),
        }
    print()


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser("engine", __doc__)
    _command.add_sizes(parser)
    _command.add_repeats(parser, 3)
    parser.add_argument(
        "--seconds",
        type=whole(1),
        default=6,
        metavar="S",
        help="that each contestant runs at least, each time (default: %(default)s)",
    )
    parser.add_argument(
        "--peers-python",
        type=os.path.abspath,
        default=sys.executable,
        metavar="FILE",
        help="the Python of another environment, with numpy, onnx and any of onnxruntime, openvino, "
        "MNN (default: this one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
