"""Photos a second: the whole service against Keras, bare and in Spark, and its own engine alone.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import command as _command
from benchmarks.harness import photo_source as _photos
from benchmarks.harness import service as _service
from benchmarks.harness.command import whole
from benchmarks.workloads.runs import Measured, Runs, ServiceMeasured


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every run went through and stored every photo."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    paths = _photos.gather(asked.photos, asked.limit, scratch / "photos")
    photos = _photos.describe(paths, drawn=asked.photos is None)
    subset = _photos.spaced(paths, asked.subset or len(paths))
    print(
        f"{_photos.line(photos)}; the peers take {len(subset)} of them; repeats: {asked.repeats}",
        flush=True,
    )
    benches = []
    for size in asked.sizes:
        folder = scratch / str(size)
        folder.mkdir()
        environment = _service.settings(folder / "work", size)
        benches.append(Runs(paths * asked.copies, subset, size, environment, folder))
        benches[-1].prepare()
    found = {size: _repeats() for size in asked.sizes}
    for repeat in range(1, asked.repeats + 1):
        for runs in benches:
            told = {
                "keras": runs.keras(),
                "udf": runs.udf(),
                "service": runs.service(),
                "engine": runs.engine(),
            }
            for name, measured in told.items():
                found[runs.input_size][name].append(measured)
            rates = ", ".join(f"{name} {each.photos_per_s:.2f}" for name, each in told.items())
            print(f"repeat {repeat}, {runs.input_size} px, photos/s: {rates}", flush=True)
    result: dict[str, Any] = {}
    for size, by_name in found.items():
        _summarise(size, by_name, result)
    result["peak_rss_mb"] = max(result[f"peak_rss_mb_{size}"] for size in asked.sizes)
    return result | {
        "photos": photos,
        "copies": asked.copies,
        "subset": len(subset),
        "repeats": asked.repeats,
        "settings": _service.overridden(),
        "runs": {
            f"{name}_{size}": [asdict(run) for run in runs_of]
            for size, by_name in found.items()
            for name, runs_of in by_name.items()
        },
    }


def _repeats() -> dict[str, list[Any]]:
    return {"keras": [], "udf": [], "service": [], "engine": []}


def _summarise(size: int, found: dict[str, list[Any]], result: dict[str, Any]) -> None:
    """Print the table of one input size and put its medians into ``result``."""
    keras: list[Measured] = found["keras"]
    udf: list[Measured] = found["udf"]
    engine: list[Measured] = found["engine"]
    service: list[ServiceMeasured] = found["service"]

    def over(peers: list[Measured]) -> list[float]:  # of the same repeat: drift cancels out
        pairs = zip(service, peers, strict=True)
        return [own.photos_per_s / peer.photos_per_s for own, peer in pairs]

    rows: dict[str, tuple[str, list[float]]] = {
        "keras_photos_per_s": ("bare Keras, photos/s", [each.photos_per_s for each in keras]),
        "udf_photos_per_s": ("Keras by UDF, photos/s", [each.photos_per_s for each in udf]),
        "service_photos_per_s": ("service, photos/s", [each.photos_per_s for each in service]),
        "engine_photos_per_s": ("engine alone, photos/s", [each.photos_per_s for each in engine]),
        "service_over_keras": ("service : Keras", over(keras)),
        "service_over_udf": ("service : Keras by UDF", over(udf)),
        "service_over_engine": ("service : engine alone", over(engine)),
        "service_end_to_end_photos_per_s": (
            "service end to end, photos/s",
            [each.end_to_end_photos_per_s for each in service],
        ),
        "keras_start_up_s": ("Keras start-up, s", [each.start_up_s for each in keras]),
        "udf_start_up_s": ("Keras by UDF, start-up, s", [each.start_up_s for each in udf]),
        "service_started_s": ("service started after, s", [each.started_s for each in service]),
        "service_start_up_s": (
            "  first rows durable after, s",
            [each.start_up_s for each in service],
        ),
        "service_wind_up_s": ("  last row to end, s", [each.wind_up_s for each in service]),
        "service_steady_s": ("  steady state lasted, s", [each.steady_s for each in service]),
        "service_steady_photos": (
            "  photos in it",
            [float(each.steady_photos) for each in service],
        ),
        "service_cpu_s": ("service, CPU s", [each.cpu_s for each in service]),
        "embedded_aws_cpu_s": (
            "embedded AWS, CPU s",
            [each.embedded_aws_cpu_s for each in service],
        ),
        "embedded_aws_cpu_share": (
            "  its share of both",
            [each.cpu_share_of_embedded_aws for each in service],
        ),
        "peak_rss_mb": ("service, peak RSS, MB", [each.peak_rss_mb for each in service]),
        "peak_pss_mb": ("service, peak PSS, MB", [each.peak_pss_mb for each in service]),
        "keras_peak_rss_mb": ("Keras, peak RSS, MB", [each.peak_rss_mb for each in keras]),
        "udf_peak_rss_mb": ("Keras by UDF, peak RSS, MB", [each.peak_rss_mb for each in udf]),
    }
    print(f"\n{size} px{'median':>34}   min – max")
    for name, (label, values) in rows.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"{label:<30}{middle:>10.2f}   {low:.2f} – {high:.2f}")
        result[f"{name}_{size}"] = round(middle, 3)
    print()


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser("pipeline", __doc__)
    _command.add_photos(parser)
    parser.add_argument(
        "--copies",
        type=whole(1),
        default=1,
        metavar="N",
        help="how often the service takes each, under other keys (default: %(default)s)",
    )
    parser.add_argument(
        "--subset",
        type=whole(0),
        default=256,
        metavar="N",
        help="photos of these that the peers take; 0: all (default: %(default)s)",
    )
    _command.add_sizes(parser)
    _command.add_repeats(parser, 3)
    return parser


if __name__ == "__main__":
    sys.exit(main())
