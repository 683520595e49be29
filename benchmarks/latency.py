"""Seconds from a photo put into S3 to its durable row, and what the idle service costs.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import aws as _aws
from benchmarks.harness import command as _command
from benchmarks.harness import photo_source as _photos
from benchmarks.harness import service as _service
from benchmarks.harness.child import START_SECONDS, BenchError, Child
from benchmarks.harness.command import whole
from benchmarks.harness.commits import Commits
from infra_scripts.embedded import EmbeddedAws

PAUSE_SECONDS = (1.0, 3.0)  # between a row and the next photo, unless asked
ROW_SECONDS = 60  # that one row may take
SETTLE_SECONDS = 5  # before idleness is measured
STOP_SECONDS = 120
# A refit is due every few photos while there are few; a store that has grown refits once an hour.
DEFAULTS = {"FRUITS_PCA__GROWTH_SHARE": "0"}


@dataclass(frozen=True, slots=True)
class Measured:
    """A life of the service."""

    seconds: list[float]
    first_row_s: float  # from the start of the process, its photo queued beforehand
    load_cpu_percent: dict[str, float]  # while photos came; of one core, by whom
    idle_cpu_percent: dict[str, float]
    peak_rss_mb: float
    peak_pss_mb: float
    exit_status: int
    stop_s: float


class Cpu:
    """Processor time of the service and of the embedded AWS since the last look."""

    def __init__(self, service: Child, aws: EmbeddedAws) -> None:
        self._service, self._aws = service, aws
        self._last = self._look()

    def percent(self) -> dict[str, float]:
        """Of one core, since the last call."""
        before, self._last = self._last, self._look()
        wall, service, aws = (now - then for now, then in zip(self._last, before, strict=True))
        return {"service": 100 * service / wall, "embedded_aws": 100 * aws / wall}

    def _look(self) -> tuple[float, float, float]:
        return time.monotonic(), self._service.cpu_seconds(), self._aws.cpu_seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo got its row."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    paths = _photos.gather(asked.photos_dir, asked.photos + 1, scratch / "photos")
    photos = _photos.describe(paths, drawn=asked.photos_dir is None)
    wanted = [paths[n % len(paths)] for n in range(asked.photos + 1)]
    environment = _service.settings(scratch / "work", asked.size, DEFAULTS)
    with _aws.deployed(environment) as aws:
        measured = _measure(aws, environment, wanted, asked, scratch / "service.out")
    result = _summary(measured)
    _print(result, photos)
    return result | {
        "input_size": asked.size,
        "pause_s": asked.pause or PAUSE_SECONDS,
        "photos": photos,
        "settings": DEFAULTS | _service.overridden(),
        "seconds": [round(each, 4) for each in measured.seconds],
    }


def _measure(
    aws: EmbeddedAws,
    environment: dict[str, str],
    paths: list[Path],
    asked: argparse.Namespace,
    output: Path,
) -> Measured:
    """One life of the service; the first of ``paths`` warms it up."""
    storage = _service.config_of(environment).storage
    s3 = _aws.client(aws, "s3")
    commits = Commits(aws, storage.bucket, storage.store_prefix)

    def put(number: int) -> str:
        return _photos.put(s3, storage, paths[number], number)

    def time_row(number: int) -> float:
        began = time.time()
        return commits.await_row(put(number), ROW_SECONDS, service) - began

    pauses = random.Random(asked.seed)
    warm_up = put(0)
    with _service.start(aws, environment, output) as service:
        first = commits.await_row(warm_up, START_SECONDS, service) - service.started_at
        time.sleep(SETTLE_SECONDS)
        cpu = Cpu(service, aws)
        seconds = []
        for number in range(1, len(paths)):
            time.sleep(asked.pause or pauses.uniform(*PAUSE_SECONDS))
            seconds.append(time_row(number))
        load = cpu.percent()
        time.sleep(SETTLE_SECONDS)
        cpu.percent()
        time.sleep(asked.idle)
        idle = cpu.percent()
        rows = _service.status(aws, environment)["photos"]
        if rows != len(paths):
            raise BenchError(f"{len(paths)} photos were put, the table has {rows} rows")
        status, stop = _stop(service)
        rss, pss = service.peak_rss_bytes / 1e6, service.peak_pss_bytes / 1e6
        return Measured(seconds, first, load, idle, rss, pss, status, stop)


def _stop(service: Child) -> tuple[int, float]:
    began = time.time()
    return service.stop(STOP_SECONDS), time.time() - began


def _summary(measured: Measured) -> dict[str, Any]:
    p50, p95 = np.percentile(measured.seconds, [50, 95])
    figures = {
        "p50_s": p50,
        "p95_s": p95,
        "min_s": min(measured.seconds),
        "max_s": max(measured.seconds),
        "mean_s": statistics.mean(measured.seconds),
        "first_row_s": measured.first_row_s,
        "idle_cpu_percent": measured.idle_cpu_percent["service"],
        "idle_cpu_percent_embedded_aws": measured.idle_cpu_percent["embedded_aws"],
        "load_cpu_percent": measured.load_cpu_percent["service"],
        "load_cpu_percent_embedded_aws": measured.load_cpu_percent["embedded_aws"],
        "peak_rss_mb": measured.peak_rss_mb,
        "peak_pss_mb": measured.peak_pss_mb,
        "stop_s": measured.stop_s,
    }
    rounded = {name: round(float(value), 3) for name, value in figures.items()}
    return {**rounded, "exit_status": measured.exit_status, "count": len(measured.seconds)}


def _print(result: dict[str, Any], photos: dict[str, Any]) -> None:
    print(
        f"{_photos.line(photos)}; {result['count']} timed, one at a time\n\n"
        f"put to durable row, s     p50 {result['p50_s']:.2f}   p95 {result['p95_s']:.2f}   "
        f"min {result['min_s']:.2f}   max {result['max_s']:.2f}\n"
        f"start to first row, s     {result['first_row_s']:.1f}\n"
        f"CPU, % of one core        service   embedded AWS\n"
        f"  idle                    {result['idle_cpu_percent']:7.1f}   "
        f"{result['idle_cpu_percent_embedded_aws']:12.1f}\n"
        f"  while photos come       {result['load_cpu_percent']:7.1f}   "
        f"{result['load_cpu_percent_embedded_aws']:12.1f}\n"
        f"peak memory, MB           RSS {result['peak_rss_mb']:.0f}   PSS {result['peak_pss_mb']:.0f}\n"
        f"after SIGTERM             exit status {result['exit_status']} in {result['stop_s']:.1f} s\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser("latency", __doc__)
    positive = whole(1)
    parser.add_argument(
        "--photos",
        type=positive,
        default=20,
        metavar="N",
        help="photos to time (default: %(default)s)",
    )
    parser.add_argument(
        "--photos-dir",
        type=Path,
        metavar="DIR",
        help="real photos (default: the demo's drawn sample)",
    )
    _command.add_size(parser)
    parser.add_argument(
        "--pause",
        type=positive,
        metavar="S",
        help="seconds without work before each photo (default: 1 to 3, at random)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of these pauses (default: %(default)s)"
    )
    parser.add_argument(
        "--idle",
        type=positive,
        default=20,
        metavar="S",
        help="seconds over which the idle service's processor time is taken (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
