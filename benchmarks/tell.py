"""What features tell of photos: labels that are found and confused, cosines, what alters them.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result
from benchmarks.harness.errors import BenchError
from benchmarks.workloads import held_out, photo_features
from benchmarks.workloads.altered_photos import ALTERATIONS, altered
from benchmarks.workloads.held_out import FOLDS, Labels
from processor.answers.nearest import unit
from processor.network.spec import Features, Network
from processor.photos.decode import decode

COMPONENTS = (64, 16, 2)
QUANTILES = (0.05, 0.5, 0.95)
NEAR = (0.999, 0.99, 0.98, 0.95)  # the first is what `processor duplicates` takes
CONFUSED = 10

Cosines = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    labels = np.array([path.parent.name for path in paths])
    counts = Counter(labels.tolist())
    if len(counts) < 2 or min(counts.values()) < FOLDS:
        raise BenchError(f"it takes two folders with at least {FOLDS} photos each")
    print(f"{photos.line()}, {len(counts)} labels", flush=True)
    found: Result = {
        "labels": len(counts),
        "majority": round(max(counts.values()) / len(labels), 4),
        "accuracy": {},
    }
    first = options.sizes[0]
    for size in options.sizes:
        network = photo_features.network(options.weights, size, scratch)
        features = photo_features.of(network, (decode(p.read_bytes(), size).pixels for p in paths))
        found["accuracy"][str(size)] = _accuracy(features, labels, size)
        if size == first:
            cosines = unit(features) @ unit(features).T
            found |= _cosines(cosines, labels) | {"confused": _confused(cosines, labels)}
            count = min(options.altered, len(paths))
            own = np.arange(count) * len(paths) // count
            found["altered"] = _altered(network, size, paths, features, labels, own)
    named = settings.overridden() | photo_features.setting(options.weights)
    return {**found, "photos": asdict(photos), "settings": named}


def _accuracy(features: Features, labels: Labels, size: int) -> Result:
    """By how the photos are held out, and by the number of columns."""
    by_scene, scenes = held_out.by_scene(features)
    splits = {"random": held_out.at_random(len(labels)), "scene": by_scene}
    found: Result = {"scenes": scenes}
    print(f"\n{size} px: held-out photos whose label is found; {scenes} scenes")
    print(f"{'':12}{'columns':>8}{'nearest':>10}{'logistic':>10}")
    for name, folds in splits.items():
        found[name] = {}
        for components in (None, *COMPONENTS):
            columns = components or features.shape[1]
            both = held_out.accuracy(features, labels, folds, components)
            found[name][str(columns)] = {k: round(v, 4) for k, v in both._asdict().items()}
            print(f"{name:12}{columns:>8}{both.nearest:>10.1%}{both.logistic:>10.1%}", flush=True)
    return found


def _cosines(cosines: Cosines, labels: Labels) -> Result:
    """Quantiles of the cosines of pairs, and how many pairs are near-duplicates."""
    one, other = np.triu_indices(len(labels), 1)
    pairs, same = cosines[one, other], labels[one] == labels[other]
    nearest = np.where(np.eye(len(labels), dtype=bool), -np.inf, cosines).max(axis=1)
    groups = {"same_label": pairs[same], "other_label": pairs[~same], "nearest": nearest}
    print(f"\ncosine of a pair{'5 %':>10}{'50 %':>8}{'95 %':>8}")
    quantiles = {}
    for name, each in groups.items():
        quantiles[name] = [round(float(q), 4) for q in np.quantile(each, QUANTILES)]
        print(f"{name:16}{quantiles[name][0]:>10}{quantiles[name][1]:>8}{quantiles[name][2]:>8}")
    near = {
        str(bound): {
            "pairs": int((pairs >= bound).sum()),
            "same_label": int((same & (pairs >= bound)).sum()),
        }
        for bound in NEAR
    }
    print("pairs at least as near as: " + ", ".join(f"{k} {v['pairs']}" for k, v in near.items()))
    return {"cosine": quantiles, "near": near}


def _confused(cosines: Cosines, labels: Labels) -> list[tuple[str, str, int]]:
    """Label, label of the nearest other photo, and how many: the most frequent ones that differ."""
    nearest = _nearest(cosines, np.arange(len(labels)))
    wrong = labels != labels[nearest]
    pairs = zip(labels[wrong].tolist(), labels[nearest][wrong].tolist(), strict=True)
    found = [(*pair, count) for pair, count in Counter(pairs).most_common(CONFUSED)]
    print(f"\nthe nearest other photo has another label: {wrong.mean():.1%}")
    for label, said, count in found:
        print(f"{count:>6}  {label} next to {said}", flush=True)
    return found


def _nearest(cosines: Cosines, own: Rows) -> Rows:
    """The nearest photo of each row but the one that it is made from."""
    others = cosines.copy()
    others[np.arange(len(others)), own] = -np.inf
    found: Rows = others.argmax(axis=1)
    return found


def _altered(
    network: Network,
    size: int,
    paths: Sequence[Path],
    features: Features,
    labels: Labels,
    own: Rows,
) -> Result:
    """Some photos, by their rows in all, in each way altered and compared with all as they are."""
    # For a background: a photo half of all away, so mostly of another label.
    others = (own + len(paths) // 2) % len(paths)
    print(f"\n{len(own)} photos, altered: cosine to what they were, and what is nearest")
    print(f"{'':20}{'5 %':>8}{'50 %':>8}{'duplicate':>11}{'itself':>8}{'right label':>13}")
    found: Result = {}
    for name, alteration in ALTERATIONS.items():
        pixels = (
            decode(altered(alteration, paths[row], paths[other]), size).pixels
            for row, other in zip(own, others, strict=True)
        )
        cosines = unit(photo_features.of(network, pixels)) @ unit(features).T
        to_own = cosines[np.arange(len(own)), own]
        label_of = labels[_nearest(cosines, own)]
        one = {
            "cosine_5": float(np.quantile(to_own, 0.05)),
            "cosine_50": float(np.median(to_own)),
            "duplicate": float((to_own >= NEAR[0]).mean()),
            "itself": float((cosines.argmax(axis=1) == own).mean()),
            "accuracy": float((label_of == labels[own]).mean()),
        }
        found[name] = {key: round(value, 4) for key, value in one.items()}
        print(
            f"{name:20}{one['cosine_5']:>8.3f}{one['cosine_50']:>8.3f}{one['duplicate']:>11.1%}"
            f"{one['itself']:>8.1%}{one['accuracy']:>13.1%}",
            flush=True,
        )
    return found


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        "tell",
        __doc__,
        "A photo's label is the folder it is in. With 1,142 photos some 15 minutes.",
    )
    command.add_photos(parser)
    command.add_sizes(parser)
    command.add_weights(parser)
    parser.add_argument(
        "--altered",
        type=command.whole(1),
        default=200,
        metavar="N",
        help="photos to alter, evenly spaced, in each way (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
