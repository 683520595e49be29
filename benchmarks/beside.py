"""Photos a second while a refit is always under way, over the same without any.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import _machine, _photos, _service
from benchmarks._command import carry_out, whole
from benchmarks._runs import Runs

NEVER = {
    "FRUITS_PCA__INTERVAL_SECONDS": "0",
    "FRUITS_PCA__GROWTH_PHOTOS": "0",
    "FRUITS_PCA__GROWTH_SHARE": "0",
    "FRUITS_PCA__LEAST_CAPTURED": "0",
    "FRUITS_PCA__MOST_RESIDUAL": "0",
}
ALWAYS = NEVER | {"FRUITS_PCA__GROWTH_PHOTOS": "1"}  # after each micro-batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo went through."""
    asked = _parser().parse_args(arguments)

    def measure() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-beside-") as scratch:
            return _bench(asked, Path(scratch))

    return carry_out(measure)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    machine = _machine.describe()
    print(_machine.lines(machine), flush=True)
    photos = _photos.gather(asked.photos, asked.limit, scratch / "photos")
    rates: dict[str, list[float]] = {"without": [], "beside": []}
    refits: list[int] = []
    for repeat in range(1, asked.repeats + 1):
        for name, policy in (("without", NEVER), ("beside", ALWAYS)):
            environment = _service.settings(scratch / "work", asked.size, {}) | policy
            runs = Runs(photos, photos[:16], asked.size, environment, scratch, asked.present)
            if not rates["without"]:
                runs.engine()  # once: the network's files exist and lie in the page cache
            rate, fitted = runs.unattended()
            rates[name].append(rate)
            refits += [fitted] if name == "beside" else []
        print(
            f"repeat {repeat}: {rates['without'][-1]:.2f} photos/s without, "
            f"{rates['beside'][-1]:.2f} beside {refits[-1]} refits",
            flush=True,
        )
    ratios = [a / b for a, b in zip(rates["beside"], rates["without"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"beside refits of {asked.present:,} rows: {ratio:.2f} of the rate")
    return {
        "beside_over_without": round(ratio, 3),
        "present_rows": asked.present,
        "photos": len(photos),
        "size": asked.size,
        "refits": refits,
        "runs": {name: [round(rate, 3) for rate in each] for name, each in rates.items()},
        "settings": _service.overridden(),
        "machine": machine,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run bench beside",
        description=__doc__,
        epilog="The embedded AWS keeps the store in memory: 2.5 GB for a million rows.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--photos",
        type=lambda text: Path(os.path.abspath(text)),  # noqa: PTH100
        metavar="DIR",
        help="take these instead of drawn ones",
    )
    parser.add_argument(
        "--limit", type=whole(0), default=512, metavar="N", help="0: all (default: %(default)s)"
    )
    parser.add_argument(
        "--present",
        type=whole(1),
        default=200_000,
        metavar="N",
        help="drawn rows that are in the store already (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=whole(32), default=224, metavar="PX", help="default: %(default)s"
    )
    parser.add_argument(
        "--repeats", type=whole(1), default=1, metavar="R", help="default: %(default)s"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
