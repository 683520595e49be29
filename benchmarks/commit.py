"""Seconds to make a micro-batch of 256 photos durable, as the table grows, and the driver's memory.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import aws as embedded
from benchmarks.harness import command
from benchmarks.harness.child import Child, parse
from benchmarks.harness.command import Result, wholes
from benchmarks.workloads.growing_store import Level
from benchmarks.workloads.store_driver import CommitCost

SECONDS = 3600
BUCKET = "bench-commit"
PROCESS = "benchmarks.workloads.growing_store"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every commit succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    rows = sorted(options.rows)
    stack = {"FRUITS_STORAGE__BUCKET": BUCKET}
    output = scratch / "out"
    with embedded.deployed(stack) as aws, embedded.deployed(stack) as other:
        store = [f"s3://{BUCKET}/", str(scratch / "work"), str(aws.pid)]
        arguments = [*store, other.endpoint_url, str(other.pid), *map(str, rows)]
        with Child(PROCESS, arguments, aws.over(stack), output) as child:
            child.finish(SECONDS)
    levels = [parse(Level, line, PROCESS) for line in output.read_text().splitlines()]
    first = command.short(rows[0])
    print(
        f"{'rows':>10}{'files':>7}{'commit, ms':>12}{f'at {first}':>8}{'ratio':>7}{'CPU':>6}{'AWS':>6}"
        f"{'replace 16':>12}{'MERGE':>9}{'driver, MB':>12}"
    )
    result: Result = {}
    for level in levels:
        result |= _figures(level, first)
    return {**result, "runs": {command.short(level.rows): asdict(level) for level in levels}}


def _figures(level: Level, first: str) -> dict[str, float]:
    """Print the row of one number of rows; its figures under their names in the JSON."""
    here, there = _middle(level.here), _middle(level.yardstick)
    turns = zip(level.here, level.yardstick, strict=True)
    ratio = statistics.median(ours.seconds / theirs.seconds for ours, theirs in turns)
    replace, merge = (1000 * statistics.median(each) for each in (level.replace, level.merge))
    ms, own, aws = 1000 * here.seconds, 1000 * here.driver_cpu, 1000 * here.aws_cpu
    print(
        f"{level.rows:>10,}{level.files:>7}{ms:>12.1f}{1000 * there.seconds:>8.1f}"
        f"{ratio:>7.2f}{own:>6.0f}{aws:>6.0f}{replace:>12.1f}{merge:>9.0f}{level.rss / 1e6:>12.0f}"
    )
    rows = command.short(level.rows)
    return {
        f"commit_{rows}_ms": round(ms, 1),
        f"commit_{rows}_over_{first}": round(ratio, 3),
        f"driver_cpu_{rows}_ms": round(own, 1),
        f"driver_cpu_{rows}_over_{first}": round(here.driver_cpu / there.driver_cpu, 3),
        f"embedded_aws_{rows}_ms": round(aws, 1),
        f"embedded_aws_{rows}_over_{first}": round(here.aws_cpu / there.aws_cpu, 3),
        f"replace_{rows}_ms": round(replace, 1),
        f"merge_over_commit_{rows}": round(merge / ms, 1),
        f"driver_rss_{rows}_mb": round(level.rss / 1e6),
    }


def _middle(commits: Sequence[CommitCost]) -> CommitCost:
    """The median of the seconds; the mean of processor time, which the system counts in steps."""

    def mean(of: Callable[[CommitCost], float]) -> float:
        return statistics.mean(map(of, commits))

    return CommitCost(
        seconds=statistics.median(each.seconds for each in commits),
        driver_cpu=mean(lambda each: each.driver_cpu),
        aws_cpu=mean(lambda each: each.aws_cpu),
    )


def _parser() -> argparse.ArgumentParser:
    epilog = "The embedded AWS keeps the table in memory: 2.5 GB for a million rows."
    parser = command.parser("commit", __doc__, epilog)
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
