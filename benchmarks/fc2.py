"""Memory and seconds of refits of 4,096 columns (the layer fc2), by the number of tasks at a time.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import aws as embedded
from benchmarks.harness import command
from benchmarks.harness.blas import THREADS
from benchmarks.harness.child import Child, output_of
from benchmarks.harness.command import Result, whole, wholes
from benchmarks.workloads import drawn_features
from benchmarks.workloads.wide_refit import COLUMNS, FILE_ROWS, WideRefit

BUCKET = "bench-fc2"
SECONDS = 1800  # that the refits of one number of tasks may take


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every refit succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    result: Result = {"columns": COLUMNS, "rows": options.rows, "components": options.components}
    store = f"s3://{BUCKET}/"
    with embedded.deployed({"FRUITS_STORAGE__BUCKET": BUCKET}) as aws:
        environment = aws.over({THREADS: "1", **os.environ})
        print(f"drawing {options.rows:,} rows of {COLUMNS} columns", flush=True)
        shape = [str(each) for each in (0, COLUMNS, FILE_ROWS)]
        arguments = [f"{store}features", str(options.rows), drawn_features.MODEL, *shape]
        output_of("benchmarks.workloads.drawn_features", *arguments, environment=environment)
        print(
            f"{'tasks':>6}{'heap':>8}{'JVM':>8}{'driver':>8}{'worker':>8}{'all':>8}  MB, peaks"
            f"{'fit':>9}{'table':>8}{'+ fit':>8}{'table':>8}  seconds"
        )
        for tasks in options.tasks:
            more = str(FILE_ROWS * tasks)
            output = scratch / f"{tasks}.out"
            each = [store, str(options.components), str(tasks), more]
            with Child("benchmarks.workloads.wide_refit", each, environment, output) as child:
                child.finish(SECONDS)
                found, together = child.result(WideRefit), child.usage.peak_pss_bytes
            result |= _figures(tasks, found, together)
    return result


def _figures(tasks: int, found: WideRefit, together: int) -> Result:
    sizes = {
        "heap_mb": found.heap,
        "jvm_mb": found.jvm,
        "driver_mb": found.driver,
        "worker_mb": found.worker,
        "all_mb": together,
    }
    seconds = {
        "fit_s": found.fit,
        "table_s": found.table,
        "more_fit_s": found.more_fit,
        "more_table_s": found.more_table,
    }
    megabytes = {name: round(value / 1e6) for name, value in sizes.items()}
    print(
        f"{tasks:>6}{''.join(f'{value:>8}' for value in megabytes.values())}{'':>12}"
        f"{''.join(f'{value:>8.1f}' for value in seconds.values())}",
        flush=True,
    )
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    return {f"{name}_{tasks}": value for name, value in (megabytes | rounded).items()}


def _parser() -> argparse.ArgumentParser:
    epilog = "The embedded AWS keeps the rows in memory: 16 KB each, and a new file of them a task."
    parser = command.parser("fc2", __doc__, epilog)
    parser.add_argument(
        "--rows", type=whole(1000), default=16_384, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--tasks",
        type=wholes(1),
        default="2,8,16",
        metavar="N,…",
        help="tasks at a time, as on a machine of so many cores (default: %(default)s)",
    )
    command.add_components(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
