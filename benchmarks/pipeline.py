"""Photos a second: the whole service against Keras, bare and in Spark, and its own engine alone.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import _machine, _photos, _service
from benchmarks._command import carry_out, sizes, whole
from benchmarks._runs import Measured, Runs, ServiceMeasured

PREPARED = 16  # photos that each size's engine sees once before anything is timed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every run went through and stored every photo."""
    asked = _parser().parse_args(arguments)

    def measure() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-pipeline-") as scratch:
            return _bench(asked, Path(scratch))

    return carry_out(measure)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    machine = _machine.describe()
    paths = _photos.gather(asked.photos, asked.limit, scratch / "photos")
    photos = _photos.describe(paths, drawn=asked.photos is None)
    subset = _photos.spaced(paths, asked.subset or len(paths))
    print(_machine.lines(machine))
    print(
        f"{photos['count']} photos ({photos['source']}; median {photos['median_megapixels']} MP, "
        f"{photos['median_kilobytes']} kB); its peers take {len(subset)} of them; "
        f"repeats: {asked.repeats}",
        flush=True,
    )
    benches = []
    for size in asked.sizes:
        folder = scratch / str(size)
        folder.mkdir()
        environment = _service.settings(folder / "work", size, {})
        benches.append(Runs(paths * asked.copies, subset, size, environment, folder))
        # Makes the network's files and warms the page cache; nobody's start-up should pay for it.
        replace(benches[-1], subset=subset[:PREPARED]).engine()
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
        "settings": {"FRUITS_MODEL__WEIGHTS": _service.WEIGHTS, **_service.overridden()},
        "machine": machine,
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
    parser = argparse.ArgumentParser(
        prog="./run bench pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="real photos (default: the demo's drawn sample)"
    )
    parser.add_argument(
        "--limit",
        type=whole(0),
        default=512,
        metavar="N",
        help="photos that the service takes, evenly spaced; 0: all of DIR (default: %(default)s)",
    )
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
    parser.add_argument(
        "--sizes",
        type=sizes,
        default="224,100",
        metavar="PX,…",
        help="input sizes of the network (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats", type=whole(1), default=3, metavar="R", help="default: %(default)s"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
