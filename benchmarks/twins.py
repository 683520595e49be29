"""Photos a second of several services on one queue and store, over those of one on the same cores.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result, whole
from benchmarks.peers.peer_runs import PeerRuns
from benchmarks.workloads.service_runs import ServiceRuns, SideBySide


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo has its row."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    print(f"{photos.line()}, each {options.copies} times", flush=True)
    environment = settings.environment(scratch / "work", options.size)
    PeerRuns(paths, options.size, environment, scratch).prepare()
    runs = ServiceRuns(paths * options.copies, environment, scratch)
    one: list[SideBySide] = []
    several: list[SideBySide] = []
    print(
        f"{'services':>8}{'photos/s':>10}{'from first':>12}{'commits':>9}{'conflicts':>11}"
        f"{'s lost':>8}{'matrix':>8}{'refits':>8}{'CPU s':>8}{'RSS MB':>8}"
    )
    for repeat in range(options.repeats):
        turns = [(1, one), (options.services, several)]
        for count, found in turns if repeat % 2 == 0 else reversed(turns):
            found.append(runs.side_by_side(count))
            _print(count, found[-1])
    return _summarise(one, several) | {
        "services": options.services,
        "photos": asdict(photos),
        "copies": options.copies,
        "size": options.size,
        "settings": settings.overridden(),
        "runs": {"one": [asdict(run) for run in one], "several": [asdict(run) for run in several]},
    }


def _print(count: int, run: SideBySide) -> None:
    print(
        f"{count:>8}{run.photos_per_s:>10.2f}{run.from_first_to_last:>12.2f}{run.commits:>9}"
        f"{run.conflicts:>11}{run.conflict_seconds:>8.2f}{run.matrix_conflicts:>8}{run.refits:>8}"
        f"{run.cpu_s:>8.0f}{run.peak_rss_mb:>8.0f}",
        flush=True,
    )


def _summarise(one: Sequence[SideBySide], several: Sequence[SideBySide]) -> Result:
    pairs = list(zip(several, one, strict=True))  # of the same repeat: drift cancels out
    ratio = statistics.median(many.photos_per_s / alone.photos_per_s for many, alone in pairs)
    whole_run = statistics.median(
        many.from_first_to_last / alone.from_first_to_last for many, alone in pairs
    )
    cpu = statistics.median(many.cpu_s / alone.cpu_s for many, alone in pairs)
    commits = sum(run.commits for run in several)
    conflicts = sum(run.conflicts for run in several)
    print(
        f"several over one: {ratio:.3f} of the photos a second ({whole_run:.3f} from the first "
        f"micro-batch to the last), {cpu:.2f} of the processor time, {conflicts} conflicts in {commits} "
        "commits"
    )
    return {
        "several_over_one": round(ratio, 3),
        "several_over_one_from_first_to_last": round(whole_run, 3),
        "cpu_several_over_one": round(cpu, 3),
        "conflicts_per_commit": round(conflicts / commits, 4),
        "conflict_seconds": round(sum(run.conflict_seconds for run in several), 3),
    }


def _parser() -> argparse.ArgumentParser:
    epilog = "Each service runs on its share of the cores; the embedded AWS takes from all of them."
    parser = command.parser("twins", __doc__, epilog)
    command.add_photos(parser)
    parser.add_argument(
        "--copies",
        type=whole(1),
        default=8,
        metavar="N",
        help="how often the services take each, under different keys (default: %(default)s)",
    )
    parser.add_argument(
        "--services", type=whole(2), default=2, metavar="N", help="default: %(default)s"
    )
    command.add_size(parser)
    command.add_repeats(parser, 3)
    return parser


if __name__ == "__main__":
    sys.exit(main())
