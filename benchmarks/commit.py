"""Seconds to make a micro-batch of 256 photos durable, as the table grows, and the driver's memory.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import aws as _aws
from benchmarks.harness import command as _command
from benchmarks.harness.child import Child
from benchmarks.harness.command import wholes

SECONDS = 3600
BUCKET = "bench-commit"
NAMES = ("seconds", "own", "aws")  # of what is measured of a commit


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every commit went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    levels = sorted(asked.rows)
    settings = {"FRUITS_STORAGE__BUCKET": BUCKET}
    with _aws.deployed(settings) as aws, _aws.deployed(settings) as other:
        place = [f"s3://{BUCKET}/", str(scratch / "work"), str(aws.pid)]
        arguments = ["fill", *place, other.endpoint_url, str(other.pid), *map(str, levels)]
        environment = aws.over(settings)
        with Child(
            "benchmarks.workloads.growing_store", arguments, environment, scratch / "out"
        ) as child:
            child.finish(SECONDS)
    found = [json.loads(line) for line in (scratch / "out").read_text().splitlines()]
    first = _short(levels[0])
    print(
        f"{'rows':>10}{'files':>7}{'commit, ms':>12}{f'at {first}':>8}{'ratio':>7}{'CPU':>6}{'AWS':>6}"
        f"{'replace 16':>12}{'MERGE':>9}{'driver, MB':>12}"
    )
    result: dict[str, Any] = {}
    for each in found:
        result |= _figures(each, first)
    return {**result, "runs": {_short(each["rows"]): each for each in found}}


def _figures(level: Mapping[str, Any], first: str) -> dict[str, float]:
    """Print the row of one number of rows; its figures under their names in the JSON."""
    here, there = ({n: _middle_ms(level[w], n) for n in NAMES} for w in ("here", "yardstick"))
    turns = zip(level["here"], level["yardstick"], strict=True)
    ratio = statistics.median(ours["seconds"] / theirs["seconds"] for ours, theirs in turns)
    replace, merge = (1000 * statistics.median(level[name]) for name in ("replace", "merge"))
    rows, rss = _short(level["rows"]), level["rss"] / 1e6
    print(
        f"{level['rows']:>10,}{level['files']:>7}{here['seconds']:>12.1f}{there['seconds']:>8.1f}"
        f"{ratio:>7.2f}{here['own']:>6.0f}{here['aws']:>6.0f}{replace:>12.1f}{merge:>9.0f}{rss:>12.0f}"
    )
    return {
        f"commit_{rows}_ms": round(here["seconds"], 1),
        f"commit_{rows}_over_{first}": round(ratio, 3),
        f"driver_cpu_{rows}_ms": round(here["own"], 1),
        f"driver_cpu_{rows}_over_{first}": round(here["own"] / there["own"], 3),
        f"embedded_aws_{rows}_ms": round(here["aws"], 1),
        f"embedded_aws_{rows}_over_{first}": round(here["aws"] / there["aws"], 3),
        f"replace_{rows}_ms": round(replace, 1),
        f"merge_over_commit_{rows}": round(merge / here["seconds"], 1),
        f"driver_rss_{rows}_mb": round(rss),
    }


def _middle_ms(commits: Sequence[Mapping[str, float]], name: str) -> float:
    """Of seconds the median; of processor time, which the system counts in steps, the mean."""
    middle = statistics.median if name == "seconds" else statistics.mean
    return 1000 * middle(each[name] for each in commits)


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
