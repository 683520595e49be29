"""Commits of many services to one store: conflicts, what they cost, and whether anybody starves.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import aws as embedded
from benchmarks.harness import command
from benchmarks.harness.child import Child, output_of, parse
from benchmarks.harness.command import Result, whole, wholes
from benchmarks.harness.errors import BenchError
from benchmarks.harness.together import run_together
from benchmarks.workloads.store_writer import KEYS, NEW, Found, Writer
from infra_scripts.embedded import EmbeddedAws

SECONDS_PER_BATCH = 20.0  # a writer that is slower is given up
BUCKET = "bench-writers"
PROCESS = "benchmarks.workloads.store_writer"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo has exactly one row, of its newest version."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    print(
        f"{'writers':>7}{'commits':>9}{'conflicts':>11}{'most in a row':>15}{'s lost':>8}"
        f"{'median s':>10}{'slowest s':>11}{'last : mean':>13}{'files in vain':>15}"
    )
    result: Result = {"pace_seconds": options.pace, "batches": options.batches}
    for writers in options.writers:
        result |= _measure(writers, options, scratch)
    return result


def _measure(writers: int, options: argparse.Namespace, scratch: Path) -> Result:
    stack = {"FRUITS_STORAGE__BUCKET": BUCKET}
    start = scratch / "start"
    with embedded.deployed(stack) as aws:
        children = (
            Child(
                PROCESS,
                [
                    *("write", BUCKET, str(scratch / f"{writers}-{number}"), f"writer-{number}"),
                    *(str(options.batches), str(options.pace), str(start)),
                ],
                aws.over(stack),
                scratch / f"{writers}-{number}.out",
            )
            for number in range(writers)
        )
        seconds = options.batches * max(options.pace, SECONDS_PER_BATCH)
        ended, _ = run_together(children, start, seconds)
        found = [child.result(Writer) for child in ended]
        store = _checked(aws, writers * options.batches * NEW)
    return _summarise(found, store)


def _summarise(writers: Sequence[Writer], store: Found) -> Result:
    batches = [batch for each in writers for batch in each.batches]
    seconds = [batch.seconds for batch in batches]
    conflicts = sum(batch.conflicts for batch in batches)
    most = max(batch.conflicts for batch in batches)
    lost = sum(batch.conflict_seconds for batch in batches)
    ends = [each.seconds for each in writers]
    middle, slowest = statistics.median(seconds), max(seconds)
    fairness = max(ends) / statistics.mean(ends)
    name = f"_{len(writers)}"
    print(
        f"{len(writers):>7}{len(batches):>9}{conflicts:>11}{most:>15}{lost:>8.1f}{middle:>10.2f}"
        f"{slowest:>11.2f}{fairness:>13.2f}{store.vain:>9} of {store.files}",
        flush=True,
    )
    return {
        f"conflicts_per_commit{name}": round(conflicts / len(batches), 3),
        f"most_conflicts_in_a_row{name}": most,
        f"lost_share{name}": round(lost / sum(ends), 4),
        f"batch_s{name}": round(middle, 3),
        f"slowest_batch_s{name}": round(slowest, 3),
        f"last_over_mean{name}": round(fairness, 3),
        f"files_in_vain{name}": store.vain,
        f"runs{name}": [asdict(each) for each in writers],
    }


def _checked(aws: EmbeddedAws, new: int) -> Found:
    """Raises :class:`BenchError` unless each photo has one row, of the version that S3 has."""
    text = output_of(PROCESS, "check", BUCKET, environment=aws.over({}))
    found = parse(Found, text, PROCESS)
    shared = found.keys - new
    if found.rows != found.keys or found.outdated or not 0 < shared <= KEYS:
        raise BenchError(f"of {new} new photos and up to {KEYS} others the store has {found}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("writers", __doc__)
    parser.add_argument(
        "--writers",
        type=wholes(1),
        default="1,2,8",
        metavar="N,…",
        help="numbers of services (default: %(default)s)",
    )
    parser.add_argument(
        "--batches",
        type=whole(1),
        default=30,
        metavar="N",
        help="micro-batches of each (default: %(default)s)",
    )
    parser.add_argument(
        "--pace",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds between two of a service; 0: as fast as they can (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
