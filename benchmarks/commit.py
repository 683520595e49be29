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
BUCKET = "bench-commit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every commit went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    levels = sorted(asked.rows)
    settings = {"FRUITS_STORAGE__BUCKET": BUCKET}
    with _aws.deployed(settings) as aws:
        store = [f"s3://{BUCKET}/", str(scratch / "work")]
        arguments = ["fill", *store, str(aws.pid), *map(str, levels)]
        environment = aws.over(settings)
        with Child("benchmarks._store", arguments, environment, scratch / "out") as child:
            child.finish(SECONDS)
    found = [json.loads(line) for line in (scratch / "out").read_text().splitlines()]
    print(
        f"{'rows':>10}{'files':>7}{'commit, ms':>12}{'CPU':>6}{'AWS':>6}{'worst':>7}{'replace 16':>12}"
        f"{'MERGE':>9}{'driver, MB':>12}"
    )
    result: dict[str, Any] = {}
    for each in found:
        commit, replace, merge = (
            1000 * statistics.median(each[name]) for name in ("commit", "replace", "merge")
        )
        rows, rss = _short(each["rows"]), each["rss"] / 1e6
        print(
            f"{each['rows']:>10,}{each['files']:>7}{commit:>12.1f}"
            f"{1000 * each['own']:>6.0f}{1000 * each['aws']:>6.0f}"
            f"{1000 * max(each['commit']):>7.0f}"
            f"{replace:>12.1f}{merge:>9.0f}{rss:>12.0f}"
        )
        result |= {
            f"commit_{rows}_ms": round(commit, 1),
            f"driver_cpu_{rows}_ms": round(1000 * each["own"], 1),
            f"embedded_aws_{rows}_ms": round(1000 * each["aws"], 1),
            f"replace_{rows}_ms": round(replace, 1),
            f"merge_over_commit_{rows}": round(merge / commit, 1),
            f"driver_rss_{rows}_mb": round(rss),
        }
    first, last = (statistics.median(found[end]["commit"]) for end in (0, -1))
    own = found[-1]["own"] / found[0]["own"]
    names = f"{_short(levels[-1])}_over_{_short(levels[0])}"
    print(
        f"commit: {last / first:.2f} times as long at the end as at the beginning, with "
        f"{own:.2f} times the driver's processor time"
    )
    return {
        f"commit_{names}": round(last / first, 3),
        f"driver_cpu_{names}": round(own, 3),
        **result,
        "runs": {_short(each["rows"]): each for each in found},
    }


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
