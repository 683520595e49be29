"""Photos a second of the network alone: our engines against Keras and, where installed, other runtimes.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import command, settings
from benchmarks.harness.command import Result, whole
from benchmarks.peers import sgemm
from benchmarks.peers.contestants import PEERS, LineUp, prepare, run
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
    """Measure and print; 0 only when every contestant succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    line_ups: list[LineUp] = []
    packages: dict[str, str] = {}
    for size in options.sizes:
        line_up, packages = prepare(size, options.peers_python, scratch)
        line_ups.append(line_up)
    _print_peers(packages)
    products: list[sgemm.Product] = []
    found: dict[int, dict[str, list[Measured]]] = {size: {} for size in options.sizes}
    for repeat in range(1, options.repeats + 1):
        products.append(sgemm.square(SGEMM_SIDE))
        for line_up in line_ups:
            by_name = found[line_up.size]
            for name, measured in _repeat(line_up, options.seconds, products[-1].gflops).items():
                by_name.setdefault(name, []).append(measured)
            rates = ", ".join(
                f"{name} {runs[-1].photos_per_s:.2f}" for name, runs in by_name.items()
            )
            print(f"repeat {repeat}, {line_up.size} px, photos/s: {rates}", flush=True)
    gflops = statistics.median(each.gflops for each in products)
    yardstick = products[-1]  # every repeat has the same kernel and threads
    print(
        f"\nsgemm: {gflops:.0f} GFLOP/s (NumPy, kernel {yardstick.kernel}, {yardstick.threads} threads)"
    )
    result: Result = {
        "sgemm_gflops": round(gflops, 1),
        "sgemm_kernel": yardstick.kernel,
        "sgemm_threads": yardstick.threads,
    }
    for line_up in line_ups:
        result |= _summarise(line_up, found[line_up.size])
    return result | {
        "repeats": options.repeats,
        "seconds": options.seconds,
        "settings": settings.overridden(),
        "peers": packages,
        "runs": {
            "sgemm_gflops": [round(each.gflops, 1) for each in products],
            **{
                f"{name}_{size}": [round(each.photos_per_s, 3) for each in runs]
                for size, by_name in found.items()
                for name, runs in by_name.items()
            },
        },
    }


def gflop_per_photo(size: int) -> float:
    """Multiplications and additions of VGG-16's 13 convolutions as they are defined, in 1e9."""
    total, block = 0, "block1"
    for name, shape in layout(include_top=False).items():
        if name.endswith("/kernel"):
            if not name.startswith(block):
                size, block = size // 2, name[: len(block)]  # pooling drops an odd row or column
            total += 2 * size * size * int(np.prod(shape))
    return total / 1e9


def _print_peers(packages: dict[str, str]) -> None:
    there = [f"{name} {packages[each]}" for name, each in PEERS.items() if each in packages]
    missing = [name for name, each in PEERS.items() if each not in packages]
    if there and "onnx" not in packages:
        print(f"left out: {', '.join(there)}: the package onnx is missing, which makes their model")
    elif there:
        print(f"peers: {', '.join(there)}")
    if missing:
        print(f"left out, not installed: {', '.join(missing)}")


def _repeat(line_up: LineUp, seconds: float, sgemm_gflops: float) -> dict[str, Measured]:
    gflop = gflop_per_photo(line_up.size)
    found: dict[str, Measured] = {}
    keras = None
    for contestant in line_up.contestants:  # Keras first: the others are compared with it
        ran = run(line_up, contestant, seconds)
        keras = keras or ran
        distances = [compare(each, keras.features[0]) for each in ran.features]
        found[contestant.name] = Measured(
            photos_per_s=ran.photos_per_s,
            over_keras=ran.photos_per_s / keras.photos_per_s,
            over_direct_limit=ran.photos_per_s * gflop / sgemm_gflops,
            relative_l2=max(each.relative_l2 for each in distances),
            largest=max(each.largest for each in distances),
            peak_rss_mb=ran.peak_rss_bytes / 1e6,
        )
    return found


def _summarise(line_up: LineUp, found: dict[str, list[Measured]]) -> dict[str, float]:
    """Print the table of one input size; its medians under their names in the JSON."""
    size, gflop = line_up.size, gflop_per_photo(line_up.size)
    print(
        f"\n{size} px, {gflop:.2f} GFLOP a photo, differences over {CHECKED} photos\n"
        f"{'':<18}{'processes':>9}{'photos/s':>10}   {'min – max':<16}"
        f"{': Keras':>8}{': limit':>9}{'rel. L2':>10}{'largest':>10}{'RSS, MB':>9}"
    )
    result = {f"gflop_per_photo_{size}": round(gflop, 4)}
    for contestant in line_up.contestants:
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
            f"{contestant.name}_photos_per_s_{size}": round(statistics.median(rates), 3),
            f"{contestant.name}_over_keras_{size}": round(over, 3),
            f"{contestant.name}_over_direct_limit_{size}": round(limit, 3),
            f"{contestant.name}_relative_l2_{size}": float(f"{relative_l2:.3g}"),
            f"{contestant.name}_largest_{size}": float(f"{largest:.3g}"),
            f"{contestant.name}_peak_rss_mb_{size}": round(rss, 1),
        }
    ours, peer = found.get("winograd", []), found.get("ncnn", [])
    if ours and peer:
        ratios = [a.photos_per_s / b.photos_per_s for a, b in zip(ours, peer, strict=True)]
        result[f"winograd_over_ncnn_{size}"] = round(statistics.median(ratios), 3)
        print(f"winograd over ncnn: {statistics.median(ratios):.2f}")
    print()
    return result


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("engine", __doc__)
    command.add_sizes(parser)
    command.add_repeats(parser, 3)
    parser.add_argument(
        "--seconds",
        type=whole(1),
        default=6,
        metavar="S",
        help="the least that each contestant runs, each time (default: %(default)s)",
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
