"""``python -m demo``: photos become features and a reduced matrix, on an AWS that is embedded."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from demo import command, picture, results, summary
from demo.filled import filled, make_ready
from demo.progress import Display
from demo.results import FEATURES_FILE, MAP_FILE, MATRIX_FILE, REPORT_FILE
from processor.service.status import status

PICTURE_FILE, TRACE_FILE = "map.png", "demo-failure.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only when every photo has its row or its reject, and every file is written."""
    options = _parser().parse_args(arguments)
    return command.carry_out(lambda display: _run(options, display), options.out / TRACE_FILE)


def _run(options: argparse.Namespace, display: Display) -> None:
    out: Path = options.out
    made = REPORT_FILE, MAP_FILE, FEATURES_FILE, MATRIX_FILE, PICTURE_FILE
    make_ready(options.photos, out, (*made, TRACE_FILE))
    with filled(options.photos, options.weights, out, display) as store:
        before = time.monotonic()
        display.step("fetching and checking the results")
        layout, queue = store.config.storage.layout.store, store.config.queue
        state = status(layout, queue.name, queue.dead_letter_name)
        got = results.fetch(layout, state, store.keys, out)
        display.step("drawing the map")
        picture.draw(got, store.keys, out / PICTURE_FILE, trained=store.choice.trained)
        store.seconds["results"] = time.monotonic() - before
        cpu_seconds = store.aws.cpu_seconds
    display.clear()
    print(f"\n{summary.table(got, store.choice, store.tally, store.seconds, cpu_seconds)}\n")
    print(summary.made(out, len(got.variance)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run demo",
        description="Photos become VGG-16 features and a reduced matrix: this starts S3 and "
        "SQS on this machine, deploys bucket, queue and notifications into them, drops photos in, "
        "runs the real service until the queue is empty, and writes report.html, map.png, reduced.csv, "
        "features.parquet, map.parquet and service.log. Nothing leaves the machine.",
        epilog=command.SETTINGS,
    )
    command.add_options(
        parser,
        drawn="120 drawn photos of fruit",
        out="demo_output",
        content="the results go; an earlier demo's are replaced",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
