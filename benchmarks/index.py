"""Rows a second and memory to make the index of a table, against plain insertion into SQLite.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import command
from benchmarks.harness.child import output_of, parse
from benchmarks.harness.command import Result, wholes
from benchmarks.harness.errors import BenchError
from benchmarks.workloads.indexing import Run
from processor.store.index_snapshot import LEAST_ROWS

PROCESS = "benchmarks.workloads.indexing"
PEER = "benchmarks.peers.sqlite_insertion"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every row was indexed."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    sizes, peers = sorted(options.rows), set(options.peer_rows)
    print(
        f"{'':10}{'rows':>12}{'s':>8}{'rows/s':>10}{'CPU, s':>8}{'MB':>6}{'before':>8}"
        f"{'find, ms':>10}{'file, MB':>10}"
    )
    runs: dict[str, dict[int, Run]] = {"index": {}, "insertion": {}, "restored": {}}
    for rows in sizes:
        folder = scratch / "table"
        output_of(PROCESS, "fill", str(folder), str(rows))
        kinds = ["insertion"] if rows in peers else []
        kinds += ["index", "restored"] if rows >= LEAST_ROWS else ["index"]
        for kind in kinds:
            file = scratch / f"{kind}.sqlite"
            process = [PEER] if kind == "insertion" else [PROCESS, "index"]
            output = output_of(*process, str(folder), str(file))
            runs[kind][rows] = run = parse(Run, output, process[0])
            print(
                f"{kind:10}{rows:>12,}{run.seconds:>8.1f}{rows / run.seconds:>10,.0f}"
                f"{run.cpu:>8.1f}{run.rss / 1e6:>6.0f}{run.base_rss / 1e6:>8.0f}"
                f"{1000 * run.find_s:>10.1f}{run.bytes / 1e6:>10.0f}",
                flush=True,
            )
            if run.rows != rows:
                raise BenchError(f"{run.rows} of {rows} rows were indexed")
            if kind == "index" and "restored" in kinds:
                output_of(PROCESS, "snapshot", str(folder), str(file))
            for each in scratch.glob(f"{kind}.*"):
                each.unlink()
        shutil.rmtree(folder)
    ours = runs["index"]
    compared = sorted(runs["insertion"])
    return {
        "index_rows_per_s": round(sizes[-1] / ours[sizes[-1]].seconds),
        "index_peak_mb": round(max(run.rss for run in ours.values()) / 1e6),
        "insertion_over_index": {
            str(rows): round(runs["insertion"][rows].seconds / ours[rows].seconds, 2)
            for rows in compared
        },
        "restored_s": {str(rows): round(run.seconds, 1) for rows, run in runs["restored"].items()},
        "runs": {
            kind: {str(rows): asdict(run) for rows, run in each.items()}
            for kind, each in runs.items()
        },
    }


def _parser() -> argparse.ArgumentParser:
    epilog = "In the folder for temporary files, 400 bytes a row: 4 GB for ten million."
    parser = command.parser("index", __doc__, epilog)
    parser.add_argument(
        "--rows",
        type=wholes(1),
        default="1000000,10000000",
        metavar="N,…",
        help="rows of the tables (default: %(default)s)",
    )
    parser.add_argument(
        "--peer-rows",
        type=wholes(0),
        default="1000000",
        metavar="N,…",
        help="those of them at which to insert plainly, too (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
