"""Commits a day and seconds to a durable row while photos trickle in, by ``batch.max_delay_seconds``.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import aws as embedded
from benchmarks.harness import command, photo_source, service, settings
from benchmarks.harness.child import START_SECONDS, Child
from benchmarks.harness.command import Result, whole, wholes
from benchmarks.harness.commits import POLL_SECONDS, Commits
from benchmarks.harness.errors import BenchError
from infra_scripts.embedded import EmbeddedAws
from processor.assembly import network_spec

DAY_SECONDS = 86_400
ROW_SECONDS = 60  # that a row may take beyond the delay
DELAY = "FRUITS_BATCH__MAX_DELAY_SECONDS"
# With few photos a refit is due every few photos; a store that has grown refits once an hour.
DEFAULTS = {"FRUITS_PCA__GROWTH_SHARE": "0"}


@dataclass(frozen=True, slots=True)
class Trickled:
    """One life of the service: of each photo the seconds until its row, of each commit its time."""

    seconds: list[float]
    committed_at: list[float]
    cpu_ms_per_photo: float

    def summary(self) -> dict[str, float]:
        """For the result line. Raises :class:`BenchError` if there are too few commits for a rate."""
        commits = len(self.committed_at)
        if commits < 3:
            raise BenchError("fewer than three commits: take more --seconds")
        p50, p95 = np.percentile(self.seconds, [50, 95])
        between = (self.committed_at[-1] - self.committed_at[0]) / (commits - 1)
        figures = {
            "commits_per_day": DAY_SECONDS / between,
            "p50_s": p50,
            "p95_s": p95,
            "max_s": max(self.seconds),
            "photos": len(self.seconds),
            "commits": commits,
            "cpu_ms_per_photo": self.cpu_ms_per_photo,
        }
        return {name: round(float(value), 3) for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo has its row."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    gaps = random.Random(options.seed)
    after = [gaps.expovariate(options.rate) for _ in range(options.seconds * options.rate)]
    paths = photo_source.gather(options.photos_dir, len(after) + 1, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos_dir is None)
    print(f"{photos.line()}; {len(after)} at random moments of {sum(after):.0f} s\n")
    print("delay, s  commits a day   p50, s   p95, s   max, s  CPU ms/photo")
    found = {}
    for delay in options.delays:
        environment = settings.environment(scratch / "work", options.size, DEFAULTS)
        environment[DELAY] = str(delay)
        network_spec(settings.config_of(environment))  # its file is made once
        with embedded.deployed(environment) as aws:
            output = scratch / "service.out"
            each = _trickle(aws, environment, paths, after, output).summary()
        found[str(delay)] = each
        print(
            f"{delay:8}{each['commits_per_day']:15.0f}{each['p50_s']:9.2f}{each['p95_s']:9.2f}"
            f"{each['max_s']:9.2f}{each['cpu_ms_per_photo']:14.0f}",
            flush=True,
        )
    return {
        "delays": found,
        "rate": options.rate,
        "input_size": options.size,
        "photos": asdict(photos),
        "settings": DEFAULTS | settings.overridden(),
    }


def _trickle(
    aws: EmbeddedAws,
    environment: dict[str, str],
    paths: list[Path],
    after: Sequence[float],
    output: Path,
) -> Trickled:
    """One life of the service; the first of ``paths`` warms it up, the others come ``after`` seconds."""
    config = settings.config_of(environment)
    s3, commits = embedded.s3(aws), Commits(aws, config.storage.layout.store)
    patience = ROW_SECONDS + config.batch.max_delay_seconds
    put_at: dict[str, float] = {}
    seconds: list[float] = []
    committed_at: list[float] = []

    with service.start(aws, environment, output) as child:
        commits.await_row(photo_source.put(s3, config.storage, paths[0], 0), START_SECONDS, child)
        cpu = child.usage.cpu_seconds()
        moments = _moments(after)
        due = next(moments)
        while due or len(seconds) < len(put_at):
            now = time.time()
            if due and due <= now:
                number = len(put_at) + 1
                path = paths[number % len(paths)]
                put_at[photo_source.put(s3, config.storage, path, number)] = now
                due = next(moments, 0.0)
            elif keys := commits.next_keys():
                committed_at.append(commits.seen_at)
                seconds += [commits.seen_at - put_at[key] for key in keys]
            else:
                _check(child, max([*put_at.values(), now if due else 0.0]) + patience)
                time.sleep(POLL_SECONDS)
        cpu = child.usage.cpu_seconds() - cpu
    return Trickled(seconds, committed_at, 1000 * cpu / len(seconds))


def _moments(after: Sequence[float]) -> Iterator[float]:
    """The Unix times at which photos are put, from now on."""
    moment = time.time()
    for seconds in after:
        moment += seconds
        yield moment


def _check(service: Child, deadline: float) -> None:
    if not service.running() or time.time() > deadline:
        raise BenchError(f"not all photos went through: {service.last_line()}")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("trickle", __doc__)
    parser.add_argument(
        "--delays",
        type=wholes(0),
        default="0,2,10",
        metavar="S,…",
        help="values of batch.max_delay_seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=whole(1),
        default=1,
        metavar="N",
        help="photos a second (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=whole(1),
        default=40,
        metavar="S",
        help="for how long they come (default: %(default)s)",
    )
    command.add_photos_dir(parser)
    command.add_size(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
