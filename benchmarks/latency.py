"""Seconds from a photo put into S3 to its durable row, and what the idle service costs.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import aws as embedded
from benchmarks.harness import command, photo_source, service, settings
from benchmarks.harness.child import START_SECONDS, Child
from benchmarks.harness.command import Result, whole
from benchmarks.harness.commits import Commits
from benchmarks.harness.errors import BenchError
from infra_scripts.embedded import EmbeddedAws
from processor.assembly import network_spec

PAUSE_SECONDS = (1.0, 3.0)  # between a row and the next photo, unless --pause
ROW_SECONDS = 60  # that one row may take
SETTLE_SECONDS = 5  # before idleness is measured
STOP_SECONDS = 120


@dataclass(frozen=True, slots=True)
class CpuPercent:
    """Processor time, in percent of one core."""

    service: float
    embedded_aws: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One life of the service."""

    seconds: list[float]
    first_row_s: float  # from the start of the process, its photo queued beforehand
    load: CpuPercent  # while photos came
    idle: CpuPercent
    peak_rss_mb: float
    peak_pss_mb: float
    exit_status: int
    stop_s: float


class Cpu:
    """Processor time of the service and of the embedded AWS since the last reading."""

    def __init__(self, service: Child, aws: EmbeddedAws) -> None:
        self._service, self._aws = service, aws
        self._last = self._read()

    def percent(self) -> CpuPercent:
        """Since the last call."""
        before, self._last = self._last, self._read()
        wall, own, aws = (now - then for now, then in zip(self._last, before, strict=True))
        return CpuPercent(service=100 * own / wall, embedded_aws=100 * aws / wall)

    def _read(self) -> tuple[float, float, float]:
        return time.monotonic(), self._service.usage.cpu_seconds(), self._aws.cpu_seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo has its row."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos_dir, options.photos + 1, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos_dir is None)
    wanted = [paths[n % len(paths)] for n in range(options.photos + 1)]
    environment = settings.environment(scratch / "work", options.size)
    network_spec(settings.config_of(environment))  # its file is made once, not at every start
    with embedded.deployed(environment) as aws:
        measured = _measure(aws, environment, wanted, options, scratch / "service.out")
    result = _summary(measured)
    print(f"{photos.line()}; {result['count']} timed, one at a time\n")
    _print(result)
    return result | {
        "input_size": options.size,
        "pause_s": options.pause or PAUSE_SECONDS,
        "photos": asdict(photos),
        "settings": settings.overridden(),
        "seconds": [round(each, 4) for each in measured.seconds],
    }


def _measure(
    aws: EmbeddedAws,
    environment: dict[str, str],
    paths: list[Path],
    options: argparse.Namespace,
    output: Path,
) -> Measured:
    """One life of the service; the first of ``paths`` warms it up."""
    storage = settings.config_of(environment).storage
    s3 = embedded.s3(aws)
    commits = Commits(aws, storage.layout.store)

    def put(number: int) -> str:
        return photo_source.put(s3, storage, paths[number], number)

    def time_row(number: int) -> float:
        began = time.time()
        return commits.await_row(put(number), ROW_SECONDS, child) - began

    pauses = random.Random(options.seed)
    warm_up = put(0)
    with service.start(aws, environment, output) as child:
        first = commits.await_row(warm_up, START_SECONDS, child) - child.started_at
        time.sleep(SETTLE_SECONDS)
        cpu = Cpu(child, aws)
        seconds = []
        for number in range(1, len(paths)):
            time.sleep(options.pause or pauses.uniform(*PAUSE_SECONDS))
            seconds.append(time_row(number))
        load = cpu.percent()
        time.sleep(SETTLE_SECONDS)
        cpu.percent()
        time.sleep(options.idle)
        idle = cpu.percent()
        rows = service.status(aws, environment).photos
        if rows != len(paths):
            raise BenchError(f"{len(paths)} photos were put, the table has {rows} rows")
        status, stop = _stop(child)
        return Measured(
            seconds=seconds,
            first_row_s=first,
            load=load,
            idle=idle,
            peak_rss_mb=child.usage.peak_rss_bytes / 1e6,
            peak_pss_mb=child.usage.peak_pss_bytes / 1e6,
            exit_status=status,
            stop_s=stop,
        )


def _stop(service: Child) -> tuple[int, float]:
    """The exit status after SIGTERM, and the seconds that it took."""
    began = time.time()
    return service.stop(STOP_SECONDS), time.time() - began


def _summary(measured: Measured) -> Result:
    p50, p95 = np.percentile(measured.seconds, [50, 95])
    figures = {
        "p50_s": p50,
        "p95_s": p95,
        "min_s": min(measured.seconds),
        "max_s": max(measured.seconds),
        "mean_s": statistics.mean(measured.seconds),
        "first_row_s": measured.first_row_s,
        "idle_cpu_percent": measured.idle.service,
        "idle_cpu_percent_embedded_aws": measured.idle.embedded_aws,
        "load_cpu_percent": measured.load.service,
        "load_cpu_percent_embedded_aws": measured.load.embedded_aws,
        "peak_rss_mb": measured.peak_rss_mb,
        "peak_pss_mb": measured.peak_pss_mb,
        "stop_s": measured.stop_s,
    }
    rounded = {name: round(float(value), 3) for name, value in figures.items()}
    return {**rounded, "exit_status": measured.exit_status, "count": len(measured.seconds)}


def _print(result: Result) -> None:
    print(
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
    parser = command.parser("latency", __doc__)
    positive = whole(1)
    parser.add_argument(
        "--photos",
        type=positive,
        default=20,
        metavar="N",
        help="photos to time (default: %(default)s)",
    )
    command.add_photos_dir(parser)
    command.add_size(parser)
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
        help="seconds over which the idle service's processor time is measured (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
