"""Seconds and memory to compare a bucket with its store, against listing the bucket alone.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import aws as embedded
from benchmarks.harness import command
from benchmarks.harness.child import output_of, parse
from benchmarks.harness.command import Result, whole
from benchmarks.harness.errors import BenchError
from benchmarks.workloads.full_bucket import BUCKET, OBJECTS, FullAws
from benchmarks.workloads.reconciling import Run

PROCESS = "benchmarks.workloads.reconciling"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every difference was found."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, _scratch: Path) -> Result:
    stack = {"FRUITS_STORAGE__BUCKET": BUCKET}
    os.environ[OBJECTS] = str(options.objects)
    with FullAws() as aws:
        environment = aws.over(stack)
        output_of("infra_scripts", "deploy", environment=environment)
        url = embedded.sqs(aws).get_queue_url(QueueName="fruits-photos")["QueueUrl"]

        def run(kind: str, argument: str = "") -> Run:
            output = output_of(PROCESS, kind, argument, environment=environment)
            return parse(Run, output, PROCESS)

        output_of(PROCESS, "fill", str(options.objects), environment=environment)
        listing, memory, ours = run("listing"), run("memory"), run("reconciliation", url)
    runs = {"listing": listing, "memory": memory, "reconciliation": ours}
    for kind, each in runs.items():
        print(
            f"{kind:15}{each.objects:>11,} objects {each.found:>7,} differences "
            f"{each.seconds:>7.1f} s  CPU {each.cpu:>6.1f} s  {each.rss / 1e6:>6.0f} MB"
        )
    if ours.found != memory.found:
        raise BenchError(f"found {ours.found} differences of {memory.found}")
    return {
        "seconds": round(ours.seconds, 1),
        "over_listing": round(ours.seconds / listing.seconds, 2),
        "cpu_over_listing": round(ours.cpu / listing.cpu, 2),
        "rss_mb": round(ours.rss / 1e6),
        "rss_over_memory": round(ours.rss / memory.rss, 2),
        "runs": {kind: asdict(each) for kind, each in runs.items()},
    }


def _parser() -> argparse.ArgumentParser:
    epilog = "The embedded AWS keeps bucket and store in memory: 6 GB for a million objects."
    parser = command.parser("reconcile", __doc__, epilog)
    parser.add_argument(
        "--objects",
        type=whole(1000),
        default=1_000_000,
        metavar="N",
        help="objects in the bucket (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
