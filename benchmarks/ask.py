"""How good the answers about a photo are, and what they cost as the store grows.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.child import output_of, parse
from benchmarks.harness.command import Result
from benchmarks.harness.errors import BenchError
from benchmarks.workloads import photo_features
from benchmarks.workloads.asking import Run
from processor.answers.labels import VOTERS, Calibration
from processor.answers.nearest import SAME, Nearest, Neighbour
from processor.network.spec import Features
from processor.photos.decode import Pixels, decode

PROCESS = "benchmarks.workloads.asking"
FOLDS = 3
BINS = 15
SIZE = 224
STRANGERS = 60
SURE = 0.9


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    costs = _costs(options, scratch)
    return {**_quality(options, scratch), **costs}


# ---------------------------------------------------------------------------------------------------
# How good


def _quality(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    labels = np.array([path.parent.name for path in paths])
    print(f"{photos.line()}, {len(set(labels))} labels", flush=True)
    network = photo_features.network(options.weights, SIZE, scratch)
    pixels = (decode(path.read_bytes(), SIZE).pixels for path in paths)
    features = photo_features.of(network, pixels)
    strangers = photo_features.of(network, _strangers(STRANGERS))
    fold = np.random.default_rng(0).permutation(len(paths)) % FOLDS
    nearest, likely, sure, none = [], [], [], []
    of_strangers = []
    for number in range(FOLDS):
        kept = fold != number
        calibration = _learnt(features[kept], labels[kept])
        found = _neighbours(features[kept], labels[kept], features[~kept])
        nearest += [each[0].label for each in found]
        answers = [calibration.likely(each) for each in found]
        likely += [each.label if each else "" for each in answers]
        sure += [each.confidence if each else 0.0 for each in answers]
        none += [each[0].cosine < calibration.least_cosine for each in found]
        of_strangers += [
            each[0].cosine < calibration.least_cosine
            for each in _neighbours(features[kept], labels[kept], strangers)
        ]
    true = np.concatenate([labels[fold == number] for number in range(FOLDS)])
    of_unknown, sure_of_unknown = [], []
    for label in sorted(set(labels)):
        kept = labels != label
        calibration = _learnt(features[kept], labels[kept])
        for each in _neighbours(features[kept], labels[kept], features[~kept]):
            of_unknown.append(each[0].cosine < calibration.least_cosine)
            answer = calibration.likely(each)
            sure_of_unknown.append(answer is not None and answer.confidence >= SURE)
    _, counts = np.unique(labels, return_counts=True)
    right = np.array(likely) == true
    figures = {
        "majority": counts.max() / len(labels),
        "nearest_accuracy": float(np.mean(np.array(nearest) == true)),
        "accuracy": float(right.mean()),
        "calibration_error": _calibration_error(np.array(sure), right),
        "sure_share": float(np.mean(np.array(sure) >= SURE)),
        "sure_accuracy": float(right[np.array(sure) >= SURE].mean()),
        "none_of_held_out": float(np.mean(none)),
        "none_of_strangers": float(np.mean(of_strangers)),
        "none_of_unknown_labels": float(np.mean(of_unknown)),
        "sure_of_unknown_labels": float(np.mean(sure_of_unknown)),
    }
    for name, value in figures.items():
        print(f"{name:<24}{value:>8.1%}", flush=True)
    rounded = {name: round(value, 4) for name, value in figures.items()}
    named = settings.overridden() | photo_features.setting(options.weights)
    return rounded | {"photos": asdict(photos), "settings": named}


def _strangers(count: int) -> Iterator[Pixels]:
    """What is no fruit: noise, stripes, boards, pages of writing, colours that flow."""
    random = np.random.default_rng(4)
    for number in range(count):
        kind, colours = number % 5, random.integers(0, 256, (2, 3))
        across, down = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
        step = int(random.integers(6, 40))
        if kind == 0:
            yield random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
            continue
        if kind == 3:
            page = Image.new("RGB", (SIZE, SIZE), "white")
            draw = ImageDraw.Draw(page)
            for line in range(10, SIZE - 10, 14):
                words = "".join(chr(each) for each in random.integers(97, 123, 30))
                draw.text((10, line), words, fill="black")
            yield np.asarray(page)
            continue
        mix = {
            1: across // step % 2,
            2: (across // step + down // step) % 2,
            4: (across + down) / (2 * SIZE),
        }[kind][..., None]
        yield (colours[0] * mix + colours[1] * (1 - mix)).astype(np.uint8)


def _neighbours(
    rows: Features, labels: np.ndarray, queries: Features, below: float = np.inf
) -> list[list[Neighbour]]:
    nearest = Nearest(queries, VOTERS, below)
    nearest.offer(rows, pa.array([f"{n:07}" for n in range(len(rows))]), pa.array(labels.tolist()))
    return nearest.found()


def _learnt(rows: Features, labels: np.ndarray) -> Calibration:
    found = _neighbours(rows, labels, rows, below=SAME)
    calibration = Calibration.learn(labels.tolist(), found)
    if calibration is None:
        raise BenchError("too few photos have labels: take more (--limit)")
    return calibration


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error, over bins with as many answers each."""
    order = np.argsort(confidence, kind="stable")
    return float(
        sum(
            len(part) / len(order) * abs(confidence[part].mean() - right[part].mean())
            for part in np.array_split(order, BINS)
        )
    )


# ---------------------------------------------------------------------------------------------------
# What it costs


def _costs(options: argparse.Namespace, scratch: Path) -> Result:
    print(
        f"{'':14}{'rows':>10}{'s':>9}{'CPU, s':>9}{'search, s':>11}{'CPU, s':>9}{'MB':>8}"
        f"{'before':>8}{'found':>10}"
    )
    runs: dict[str, dict[str, Run]] = {}
    for rows in options.rows:
        store, place = scratch / "store", scratch / "place"
        place.mkdir(exist_ok=True)
        output_of(PROCESS, "fill", f"{store}/", str(rows))
        questions = ["similar", "brute-force"]
        questions += ["duplicates"] if rows <= options.duplicates_rows else []
        questions += ["all-pairs"] if rows <= options.pairs_rows else []
        for question in questions:
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as the command sets it
            if question in ("brute-force", "all-pairs"):
                del environment["OPENBLAS_NUM_THREADS"]
            output = output_of(PROCESS, question, f"{store}/", str(place), environment=environment)
            run = parse(Run, output, PROCESS)
            runs.setdefault(question, {})[str(rows)] = run
            print(
                f"{question:14}{rows:>10,}{run.seconds:>9.2f}{run.cpu:>9.2f}{run.search_s:>11.3f}"
                f"{run.search_cpu:>9.3f}"
                f"{run.peak / 1e6:>8.0f}{run.base / 1e6:>8.0f}{run.found:>10.6g}",
                flush=True,
            )
        _compare(runs, str(rows))
        shutil.rmtree(store)
    largest = str(max(options.rows))
    ours = runs["similar"][largest]
    return {
        "search_s": round(ours.search_s, 3),
        "similar_s": round(ours.seconds - 2 * ours.search_s, 2),
        "similar_mb_above_base": round((ours.peak - ours.base) / 1e6),
        "runs": {
            question: {rows: asdict(run) for rows, run in each.items()}
            for question, each in runs.items()
        },
    }


def _compare(runs: dict[str, dict[str, Run]], rows: str) -> None:
    for ours, peer in (("similar", "brute-force"), ("duplicates", "all-pairs")):
        both = [runs[each][rows].found for each in (ours, peer) if rows in runs.get(each, {})]
        if len(both) == 2 and abs(both[0] - both[1]) > 2e-5:
            raise BenchError(f"{ours} found {both[0]}, {peer} {both[1]}")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("ask", __doc__, "In the folder for temporary files, 4 kB a row.")
    command.add_photos(parser)
    command.add_weights(parser)
    command.add_rows_of_stores(parser)
    parser.add_argument(
        "--duplicates-rows",
        type=command.whole(0),
        default=50_000,
        metavar="N",
        help="the most rows among which to look for duplicates (default: %(default)s)",
    )
    parser.add_argument(
        "--pairs-rows",
        type=command.whole(0),
        default=5000,
        metavar="N",
        help="the most rows of which the peer compares all pairs (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
