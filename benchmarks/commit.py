"""Seconds to make a micro-batch of 256 photos durable, as the table grows, and the driver's memory.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import _aws, _command
from benchmarks._command import wholes
from benchmarks._processes import Child

SECONDS = 3600
BUCKET, YARDSTICK = "bench-commit", "bench-commit-yardstick"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every commit went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    levels = sorted(asked.rows)
    settings = {"FRUITS_STORAGE__BUCKET": BUCKET}
    with _aws.deployed(settings) as aws:
        _aws.client(aws, "s3").create_bucket(
            Bucket=YARDSTICK, CreateBucketConfiguration={"LocationConstraint": aws.region}
        )
        places = [f"s3://{BUCKET}/", f"s3://{YARDSTICK}/", str(scratch / "work")]
        arguments = ["fill", *places, str(aws.pid), *map(str, levels)]
        environment = aws.over(settings)
        with Child("benchmarks._store", arguments, environment, scratch / "out") as child:
            child.finish(SECONDS)
    found = [json.loads(line) for line in (scratch / "out").read_text().splitlines()]
    first = _short(levels[0])
    print(
        f"{'rows':>10}{'files':>7}{'commit, ms':>12}{f'at {first}':>8}{'ratio':>7}{'CPU':>6}{'AWS':>6}"
        f"{'replace 16':>12}{'MERGE':>9}{'driver, MB':>12}"
    )
    result: dict[str, Any] = {}
    for each in found:
        middle = {
            name: 1000 * statistics.median(each[name])
            for name in ("commit", "yardstick_commit", "replace", "merge")
        }
        means = {
            name: 1000 * statistics.mean(each[name])
            for name in ("own", "aws", "yardstick_own", "yardstick_aws")
        }
        ratio = middle["commit"] / middle["yardstick_commit"]
        rows, rss = _short(each["rows"]), each["rss"] / 1e6
        print(
            f"{each['rows']:>10,}{each['files']:>7}{middle['commit']:>12.1f}"
            f"{middle['yardstick_commit']:>8.1f}{ratio:>7.2f}{means['own']:>6.0f}{means['aws']:>6.0f}"
            f"{middle['replace']:>12.1f}{middle['merge']:>9.0f}{rss:>12.0f}"
        )
        result |= {
            f"commit_{rows}_ms": round(middle["commit"], 1),
            f"commit_{rows}_over_{first}": round(ratio, 3),
            f"driver_cpu_{rows}_ms": round(means["own"], 1),
            f"driver_cpu_{rows}_over_{first}": round(means["own"] / means["yardstick_own"], 3),
            f"embedded_aws_{rows}_ms": round(means["aws"], 1),
            f"embedded_aws_{rows}_over_{first}": round(means["aws"] / means["yardstick_aws"], 3),
            f"replace_{rows}_ms": round(middle["replace"], 1),
            f"merge_over_commit_{rows}": round(middle["merge"] / middle["commit"], 1),
            f"driver_rss_{rows}_mb": round(rss),
        }
    return {**result, "runs": {_short(each["rows"]): each for each in found}}


def _short(rows: int) -> str:
    for unit, name in ((1_000_000, "m"), (1_000, "k")):
        if rows % unit == 0:
            return f"{rows // unit}{name}"
    return str(rows)


def _parser() -> argparse.ArgumentParser:
    epilog = "The embedded AWS keeps the table in memory: 2.5 GB for a million rows."
    parser = _command.parser("commit", __doc__, epilog)
    parser.add_argument(
        "--rows",
        type=wholes(1),
        default="10000,100000,1000000",
        metavar="N,…",
        help="numbers of rows at which to measure (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
