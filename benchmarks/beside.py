"""Photos a second while a refit is always under way, over the same without any.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import command as _command
from benchmarks.harness import photo_source as _photos
from benchmarks.harness import service as _service
from benchmarks.harness.child import BenchError
from benchmarks.harness.command import whole
from benchmarks.workloads.runs import Runs

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
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    photos = _photos.gather(asked.photos, asked.limit, scratch / "photos")
    rates: dict[str, list[float]] = {"without": [], "beside": []}
    refits: list[int] = []
    for repeat in range(1, asked.repeats + 1):
        for name, policy in (("without", NEVER), ("beside", ALWAYS)):
            environment = _service.settings(scratch / "work", asked.size) | policy
            runs = Runs(photos, photos, asked.size, environment, scratch, asked.present)
            if not rates["without"]:
                runs.prepare()
            rate, fitted = runs.unattended()
            rates[name].append(rate)
            if name == "beside":
                if not fitted:
                    raise BenchError("no refit was due meanwhile: take more photos (--limit)")
                refits.append(fitted)
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
        "settings": _service.overridden() | ALWAYS,
    }


def _parser() -> argparse.ArgumentParser:
    epilog = "The embedded AWS keeps the store in memory: 2.5 GB for a million rows."
    parser = _command.parser("beside", __doc__, epilog)
    _command.add_photos(parser)
    parser.add_argument(
        "--present",
        type=whole(1),
        default=200_000,
        metavar="N",
        help="drawn rows that are in the store already (default: %(default)s)",
    )
    _command.add_size(parser)
    _command.add_repeats(parser, 1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
