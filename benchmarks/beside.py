"""Photos a second while one refit follows another, over photos a second without any.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result, whole
from benchmarks.harness.errors import BenchError
from benchmarks.peers.peer_runs import PeerRuns
from benchmarks.workloads.service_runs import ServiceRuns

NEVER = {
    "FRUITS_PCA__INTERVAL_SECONDS": "0",
    "FRUITS_PCA__GROWTH_PHOTOS": "0",
    "FRUITS_PCA__GROWTH_SHARE": "0",
    "FRUITS_PCA__LEAST_CAPTURED": "0",
    "FRUITS_PCA__MOST_RESIDUAL": "0",
}
ALWAYS = NEVER | {
    "FRUITS_PCA__GROWTH_PHOTOS": "1",
    "FRUITS_PCA__LEAST_PAUSE": "0",
}  # after each micro-batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo has its row."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    environment = settings.environment(scratch / "work", options.size)
    PeerRuns(paths, options.size, environment, scratch).prepare()
    without, beside, refits = [], [], []
    for repeat in range(1, options.repeats + 1):
        rate, _ = _run(paths, environment | NEVER, scratch, options.present)
        without.append(rate)
        rate, fitted = _run(paths, environment | ALWAYS, scratch, options.present)
        if not fitted:
            raise BenchError("no refit was due while the photos came: take more (--limit)")
        beside.append(rate)
        refits.append(fitted)
        print(
            f"repeat {repeat}: {without[-1]:.2f} photos/s without, "
            f"{beside[-1]:.2f} beside {fitted} refits",
            flush=True,
        )
    ratio = statistics.median(a / b for a, b in zip(beside, without, strict=True))
    print(f"beside refits of {options.present:,} rows: {ratio:.2f} of the rate")
    rates = {"without": without, "beside": beside}
    return {
        "beside_over_without": round(ratio, 3),
        "present_rows": options.present,
        "photos": len(paths),
        "size": options.size,
        "refits": refits,
        "runs": {name: [round(rate, 3) for rate in each] for name, each in rates.items()},
        "settings": settings.overridden() | ALWAYS,
    }


def _run(
    paths: list[Path], environment: dict[str, str], scratch: Path, present: int
) -> tuple[float, int]:
    return ServiceRuns(paths, environment, scratch, present).beside_refits()


def _parser() -> argparse.ArgumentParser:
    epilog = "The embedded AWS keeps the store in memory: 2.5 GB for a million rows."
    parser = command.parser("beside", __doc__, epilog)
    command.add_photos(parser)
    parser.add_argument(
        "--present",
        type=whole(1),
        default=200_000,
        metavar="N",
        help="drawn rows that the store already holds (default: %(default)s)",
    )
    command.add_size(parser)
    command.add_repeats(parser, 1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
