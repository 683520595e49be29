"""What the service asks of AWS, counted where it arrives: requests by kind, per photo, batch and hour.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result, whole
from benchmarks.workloads.counted_runs import CountedRun, Phase
from processor.assembly import network_spec

# Micro-batches, refits and upkeep come when the benchmark wants them, and the log goes to CloudWatch.
DEFAULTS = {
    "FRUITS_BATCH__MAX_PHOTOS": "32",
    "FRUITS_PCA__INTERVAL_SECONDS": "0",
    "FRUITS_PCA__GROWTH_PHOTOS": "0",
    "FRUITS_PCA__GROWTH_SHARE": "0",
    "FRUITS_UPKEEP__INTERVAL_SECONDS": "0",
    "FRUITS_UPKEEP__RECONCILE_INTERVAL_SECONDS": "0",
}
HOUR = 3600
PER_PHOTO = "photos"  # the place of requests about photos


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and print; 0 only when every photo has its row."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    environment = settings.environment(scratch / "work", options.size, DEFAULTS)
    environment["FRUITS_LOGS__CLOUDWATCH"] = "true"
    network_spec(settings.config_of(environment))  # its file is made once, not counted
    run = CountedRun(
        paths * options.copies, environment, scratch, options.lone, options.idle, options.pause
    )
    phases = run.phases()
    result = _figures(phases, len(paths) * options.copies)
    print(f"{photos.line()}, each {options.copies} times\n")
    for phase in phases:
        print(f"{phase.name}: {phase.about}", *phase.counts.lines(), "", sep="\n")
    _print(result)
    return result | {
        "input_size": options.size,
        "photos": asdict(photos),
        "settings": DEFAULTS | settings.overridden(),
        "phases": {phase.name: phase.summary() for phase in phases},
    }


def _figures(phases: Sequence[Phase], photos: int) -> Result:
    """Per photo, micro-batch, lone photo, refit, upkeep, idle hour, and reconciled object."""
    by_name = {phase.name: phase for phase in phases}
    load, idle = by_name["load"], by_name["idle"]
    figures: Result = {
        "per_photo": _rounded(load, load.photos, photos=True)
        | {
            "sqs": round(load.counts.of("sqs").billed / load.photos, 3),
            "cpu_ms": round(1000 * load.cpu_s / load.photos, 1),
        },
        "per_batch": _rounded(load, load.batches, photos=False)
        | {"log_bytes": round(load.counts.of("logs", "PutLogEvents").bytes / load.batches)},
        "photos_per_batch": round(load.photos / load.batches, 1),
        "files_per_batch": round(load.files / load.batches, 1),
        "per_idle_hour": _rounded(idle, idle.seconds / HOUR, photos=None)
        | {
            "sqs": round(idle.counts.of("sqs").billed * HOUR / idle.seconds),
            "log_bytes": round(idle.counts.of("logs", "PutLogEvents").bytes * HOUR / idle.seconds),
        },
        "reconciled_objects": photos,
    }
    for name in ("lone", "refit", "refit_of_merged", "upkeep", "reconcile"):
        phase = by_name[name]
        figures[name] = _rounded(phase, max(phase.photos, 1), photos=None) | {
            "sqs": round(phase.counts.of("sqs").billed / max(phase.photos, 1), 2),
            "files": phase.files,
        }
    stored = load.stored_bytes
    figures["bytes_per_photo"] = {name: round(size / photos) for name, size in stored.items()}
    return figures


def _rounded(phase: Phase, over: float, *, photos: bool | None) -> Result:
    classes = phase.counts.s3_classes(photos=photos)
    return {f"s3_{name}": round(count / over, 3) for name, count in classes.items()}


def _print(result: Result) -> None:
    print(f"{'':<18}{'S3 PUT, LIST':>14}{'S3 GET, HEAD':>14}{'free':>8}{'SQS':>8}{'log, B':>9}")
    for name, each in result.items():
        if isinstance(each, dict) and "s3_PUT" in each:
            print(
                f"{name:<18}{each['s3_PUT']:>14}{each['s3_GET']:>14}{each['s3_free']:>8}"
                f"{each.get('sqs', ''):>8}{each.get('log_bytes', ''):>9}"
            )
    print(
        f"\nphotos a micro-batch {result['photos_per_batch']}, data files {result['files_per_batch']}; "
        f"processor time a photo {result['per_photo']['cpu_ms']} ms; "
        f"stored bytes a photo {result['bytes_per_photo']}\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("requests", __doc__)
    command.add_photos(parser)
    parser.set_defaults(limit=96)
    command.add_size(parser)
    parser.set_defaults(size=100)
    positive = whole(1)
    for name, default, meaning in (
        ("--copies", 8, "times that each photo is put, under keys of its own"),
        ("--lone", 8, "photos that are put one at a time, to a service at rest"),
        ("--pause", 5, "seconds between them"),
        ("--idle", 120, "seconds over which the idle service is counted"),
    ):
        parser.add_argument(
            name,
            type=positive,
            default=default,
            metavar="N",
            help=f"{meaning} (default: %(default)s)",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
