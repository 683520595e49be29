"""What the report costs as the store grows: seconds, memory, bytes; and a thumbnail.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import command, photo_source
from benchmarks.harness.child import output_of, parse
from benchmarks.harness.command import Result, short, whole
from benchmarks.workloads.reporting import Run
from processor.photos.decode import decode
from processor.report.points import THUMBNAIL_PIXELS
from processor.report.thumbnails import encoded

PROCESS = "benchmarks.workloads.reporting"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the command sets it
    runs = {}
    for rows in options.rows:
        store = f"{scratch / 'store'}/"
        output_of(PROCESS, "fill", store, str(rows))
        output = output_of(PROCESS, "report", store, environment=environment)
        runs[short(rows)] = _shown(f"report of {rows:,}", parse(Run, output, PROCESS))
        shutil.rmtree(store)
    output = output_of(PROCESS, "neighbours", str(options.sample), environment=environment)
    neighbours = _shown(f"neighbours of {options.sample:,}", parse(Run, output, PROCESS))
    return {
        "runs": {rows: asdict(run) for rows, run in runs.items()},
        "neighbours": asdict(neighbours),
        **_thumbnails(options, scratch),
    }


def _shown(what: str, run: Run) -> Run:
    print(
        f"{what:24}{run.seconds:>7.1f} s  CPU {run.cpu:>6.1f} s  {(run.peak - run.base) / 1e6:>5.0f} MB "
        f"above {run.base / 1e6:.0f} MB  map {run.map / 1e6:.1f} MB  page {run.page / 1e6:.1f} MB",
        flush=True,
    )
    return run


def _thumbnails(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    size, cpu = 0, 0.0
    for path in paths:
        data = path.read_bytes()
        began = time.process_time()
        decoded = decode(data, THUMBNAIL_PIXELS)
        size += len(encoded(decoded.pixels, decoded.width, decoded.height))
        cpu += time.process_time() - began
    found = {"thumbnail_cpu_ms": 1e3 * cpu / len(paths), "thumbnail_bytes": size / len(paths)}
    print(f"{photos.line()}: {found}", flush=True)
    return {**{name: round(each, 2) for name, each in found.items()}, "photos": asdict(photos)}


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("report", __doc__, "In the folder for temporary files, 3 kB a row.")
    command.add_photos(parser)
    command.add_rows_of_stores(parser)
    parser.add_argument(
        "--sample",
        type=whole(100),
        default=50_000,
        metavar="N",
        help="rows whose neighbours are found (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
