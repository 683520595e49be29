"""Flatness: what the real service takes while thousands of micro-batches pass.

``python -m tests.soak.flat --batches N`` runs it as a process against an embedded AWS, with one or two
photos a micro-batch: new, overwritten, removed, repeated, broken and archived ones, and with refits and
maintenance all the time. Its network is the real one, with random weights, at 32 pixels: that takes less
time than a commit, so nothing is stubbed.

Each line of stdout is JSON: the samples, and at last a verdict. ``growth`` is each figure's robust slope
(Theil-Sen) per 1,000 micro-batches, after the first quarter. ``exceeded`` names those above bounds; the
status is 0 only if there are none. The logs of the Delta tables grow by design, until their
retention: they are reported and not judged.
"""

import argparse
import json
import math
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil
from scipy.stats import theilslopes

from common import aws
from infra_scripts.embedded import EmbeddedAws
from tests.soak import census
from tests.soak.census import MB, Figures
from tests.soak.mix import Mix
from tests.support.sites import Site, deployed
from tests.support.traffic import PATIENCE

SAMPLES = 100
CHECKPOINTS = 100  # of as many micro-batches Spark keeps the files
BACKLOG = 20  # messages in the queue, so that each micro-batch is full
TABLES = ("features", "rejects", "pending", "reduced")
SETTINGS = {
    "FRUITS_BATCH__MAX_PHOTOS": "2",
    "FRUITS_COMPUTE__WORKERS": "1",
    "FRUITS_PCA__INTERVAL_SECONDS": "20",
    "FRUITS_PCA__GROWTH_SHARE": "0",
    "FRUITS_PCA__GROWTH_PHOTOS": "0",
    "FRUITS_PCA__LEAST_PAUSE": "0",
    "FRUITS_PCA__LEAST_CAPTURED": "0",
    "FRUITS_PCA__MOST_RESIDUAL": "0",
    "FRUITS_UPKEEP__INTERVAL_SECONDS": "60",
    "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "60",
}
# Growth per 1,000 micro-batches, by the end of the figure's name, in a run of 10,000. The noise of a
# slope falls with the length of the run, so one of N may have 10,000 / N times as much.
BOUNDS = {
    "jvm.private_mb": 10.0,  # its heap takes what it may before it collects; .live_mb judges that
    "jvm.threads": 1.0,  # its pools have ten more or fewer at any time; a leak has one a refit
    ".processes": 0.2,
    ".threads": 0.5,
    ".descriptors": 3.0,
    ".private_mb": 2.0,
    ".live_mb": 1.0,
    ".files": 1.0,
    ".mb": 0.1,
    ".seconds": 0.02,
}


class Log:
    """The service's log, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.durable: list[datetime] = []  # when each micro-batch was

    def read(self) -> int:
        """The number of micro-batches that are durable now."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole)
        for line in whole.splitlines():
            if b"micro-batch durable" in line:
                self.durable.append(datetime.fromisoformat(json.loads(line)["at"]))
        return len(self.durable)

    def seconds(self, last: int) -> float:
        """The median from one micro-batch to the next, of the ``last`` ones."""
        pairs = pairwise(self.durable[-last:])
        return statistics.median((after - before).total_seconds() for before, after in pairs)


def samples(site: Site, batches: int, seed: int) -> Iterator[Figures]:
    """Run the service for so many micro-batches; what it takes now and then."""
    mix, log = Mix(site.bucket, seed), Log(site.folder / "log")
    process = site.start("run")
    service = psutil.Process(process.pid)
    every = max(5, batches // SAMPLES)
    taken = 0
    while (done := log.read()) < batches:
        if process.poll() is not None:
            raise SystemExit(f"the service ended: {process.communicate()[1]}")
        for _ in range(BACKLOG - mix.waiting()):
            mix.happen()
        if done >= (taken + 1) * every:
            taken = done // every
            figures = census.of_processes(service) | census.of_folder(site.folder / "work")
            if taken % 5 == 0:
                figures |= census.of_heap(service)
            figures |= census.of_folder(site.folder / "tmp") | logs_of_tables(site)
            yield {"batches": done, "batch.seconds": log.seconds(every), **figures}
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise SystemExit(f"the service did not stop: {errors}")


def logs_of_tables(site: Site) -> Figures:
    """Of each table the entries of its log, and the size of the last checkpoint, which readers read."""
    figures: Figures = {}
    for name in TABLES:
        prefix = f"{name}/_delta_log/"
        pages = site.s3.get_paginator("list_objects_v2").paginate(Bucket=site.bucket, Prefix=prefix)
        entries = [each for page in pages for each in page.get("Contents", ())]
        sizes = [each["Size"] for each in entries if "checkpoint.parquet" in each["Key"]]
        figures |= {f"{name}.log_entries": len(entries), f"{name}.checkpoint": sum(sizes[-1:]) / MB}
    return figures


def growth(taken: Sequence[Figures]) -> Figures:
    """Of each figure, per 1,000 micro-batches."""
    settled = [each for each in taken[len(taken) // 4 :] if each["batches"] > CHECKPOINTS]
    slopes: Figures = {}
    for name in sorted({name for each in settled for name in each} - {"batches"}):
        points = [(each[name], each["batches"]) for each in settled if name in each]
        if len(points) > 2:
            slopes[name] = round(1000 * float(theilslopes(*zip(*points, strict=True))[0]), 4)
    return slopes


def exceeded(slopes: Figures, batches: int) -> list[str]:
    """The figures that grow by more than their bounds."""
    leave = max(1.0, 10_000 / batches)

    def bound(name: str) -> float:
        return BOUNDS.get(name, BOUNDS.get(f".{name.rpartition('.')[2]}", math.inf))

    return [name for name, slope in slopes.items() if slope > leave * bound(name)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./run flat", description="what the service takes while micro-batches pass"
    )
    parser.add_argument("--batches", type=int, default=10_000, metavar="N", help="300 or more")
    parser.add_argument("--seed", type=int, default=0, help="what happens in the bucket")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))
    taken: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="flat-") as name, EmbeddedAws() as embedded:
        os.environ.update(embedded.environment)
        aws.forget()
        folder = Path(name)
        (folder / "tmp").mkdir()
        with deployed(folder, folder / "cache") as site:
            site.settings |= SETTINGS | {"TMPDIR": str(folder / "tmp")}
            for figures in samples(site, options.batches, options.seed):
                print(json.dumps(figures), flush=True)
                taken.append(figures)
    slopes = growth(taken)
    grown = exceeded(slopes, options.batches)
    verdict = {"batches": options.batches, "flat": not grown, "exceeded": grown, "growth": slopes}
    print(json.dumps({**verdict, "last": taken[-1]}))
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
