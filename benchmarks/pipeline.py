"""Photos a second: the whole service against Keras, bare and in Spark, and its own engine alone.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.harness import command, photo_source, settings
from benchmarks.harness.command import Result, whole
from benchmarks.harness.measured import Measured
from benchmarks.peers.peer_runs import PeerRuns
from benchmarks.workloads.service_runs import ServiceMeasured, ServiceRuns

M = TypeVar("M", bound=Measured)


@dataclass(frozen=True, slots=True)
class Size:
    """One input size: how to run the contestants, and their runs, one a repeat."""

    input_size: int
    peers: PeerRuns
    ours: ServiceRuns
    keras: list[Measured] = field(default_factory=list)
    udf: list[Measured] = field(default_factory=list)
    service: list[ServiceMeasured] = field(default_factory=list)
    engine: list[Measured] = field(default_factory=list)

    def repeat(self) -> None:
        self.keras.append(self.peers.keras())
        self.udf.append(self.peers.udf())
        self.service.append(self.ours.once())
        self.engine.append(self.peers.engine())

    def runs(self) -> dict[str, Sequence[Measured]]:
        """By contestant."""
        return {
            "keras": self.keras,
            "udf": self.udf,
            "service": self.service,
            "engine": self.engine,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every run succeeded and stored every photo."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    paths = photo_source.gather(options.photos, options.limit, scratch / "photos")
    photos = photo_source.describe(paths, drawn=options.photos is None)
    subset = photo_source.spaced(paths, options.subset or len(paths))
    print(
        f"{photos.line()}; the peers take {len(subset)} of them; repeats: {options.repeats}",
        flush=True,
    )
    sizes = [_prepare(size, paths * options.copies, subset, scratch) for size in options.sizes]
    for repeat in range(1, options.repeats + 1):
        for size in sizes:
            size.repeat()
            rates = ", ".join(
                f"{name} {each[-1].photos_per_s:.2f}" for name, each in size.runs().items()
            )
            print(f"repeat {repeat}, {size.input_size} px, photos/s: {rates}", flush=True)
    result: Result = {}
    for size in sizes:
        result |= _summarise(size)
    result["peak_rss_mb"] = max(result[f"peak_rss_mb_{size}"] for size in options.sizes)
    return result | {
        "photos": asdict(photos),
        "copies": options.copies,
        "subset": len(subset),
        "repeats": options.repeats,
        "settings": settings.overridden(),
        "runs": {
            f"{name}_{size.input_size}": [asdict(run) for run in runs]
            for size in sizes
            for name, runs in size.runs().items()
        },
    }


def _prepare(input_size: int, paths: list[Path], subset: list[Path], scratch: Path) -> Size:
    folder = scratch / str(input_size)
    folder.mkdir()
    environment = settings.environment(folder / "work", input_size)
    peers = PeerRuns(subset, input_size, environment, folder)
    peers.prepare()
    return Size(input_size, peers, ServiceRuns(paths, environment, folder))


def _summarise(size: Size) -> dict[str, float]:
    """Print the table of one input size; its medians under their names in the JSON."""
    keras, udf, service, engine = size.keras, size.udf, size.service, size.engine

    def over(peers: Sequence[Measured]) -> list[float]:  # in the same repeat: drift cancels out
        pairs = zip(service, peers, strict=True)
        return [own.photos_per_s / peer.photos_per_s for own, peer in pairs]

    def of(runs: Sequence[M], value: Callable[[M], float]) -> list[float]:
        return [value(run) for run in runs]

    rows: dict[str, tuple[str, list[float]]] = {
        "keras_photos_per_s": ("bare Keras, photos/s", of(keras, lambda run: run.photos_per_s)),
        "udf_photos_per_s": ("Keras by UDF, photos/s", of(udf, lambda run: run.photos_per_s)),
        "service_photos_per_s": ("service, photos/s", of(service, lambda run: run.photos_per_s)),
        "engine_photos_per_s": ("engine alone, photos/s", of(engine, lambda run: run.photos_per_s)),
        "service_over_keras": ("service : Keras", over(keras)),
        "service_over_udf": ("service : Keras by UDF", over(udf)),
        "service_over_engine": ("service : engine alone", over(engine)),
        "service_end_to_end_photos_per_s": (
            "service end to end, photos/s",
            of(service, lambda run: run.end_to_end_photos_per_s),
        ),
        "keras_start_up_s": ("Keras start-up, s", of(keras, lambda run: run.start_up_s)),
        "udf_start_up_s": ("Keras by UDF, start-up, s", of(udf, lambda run: run.start_up_s)),
        "service_started_s": ("service started after, s", of(service, lambda run: run.started_s)),
        "service_start_up_s": (
            "  first rows durable after, s",
            of(service, lambda run: run.start_up_s),
        ),
        "service_wind_up_s": ("  last row to end, s", of(service, lambda run: run.wind_up_s)),
        "service_steady_s": ("  steady state lasted, s", of(service, lambda run: run.steady_s)),
        "service_steady_photos": ("  photos in it", of(service, lambda run: run.steady_photos)),
        "service_cpu_s": ("service, CPU s", of(service, lambda run: run.cpu_s)),
        "embedded_aws_cpu_s": (
            "embedded AWS, CPU s",
            of(service, lambda run: run.embedded_aws_cpu_s),
        ),
        "embedded_aws_cpu_share": (
            "  its share of both",
            of(service, lambda run: run.cpu_share_of_embedded_aws),
        ),
        "peak_rss_mb": ("service, peak RSS, MB", of(service, lambda run: run.peak_rss_mb)),
        "peak_pss_mb": ("service, peak PSS, MB", of(service, lambda run: run.peak_pss_mb)),
        "keras_peak_rss_mb": ("Keras, peak RSS, MB", of(keras, lambda run: run.peak_rss_mb)),
        "udf_peak_rss_mb": ("Keras by UDF, peak RSS, MB", of(udf, lambda run: run.peak_rss_mb)),
    }
    result = {}
    print(f"\n{size.input_size} px{'median':>34}   min – max")
    for name, (label, values) in rows.items():
        middle, low, high = statistics.median(values), min(values), max(values)
        print(f"{label:<30}{middle:>10.2f}   {low:.2f} – {high:.2f}")
        result[f"{name}_{size.input_size}"] = round(middle, 3)
    print()
    return result


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("pipeline", __doc__)
    command.add_photos(parser)
    parser.add_argument(
        "--copies",
        type=whole(1),
        default=1,
        metavar="N",
        help="how often the service takes each, under different keys (default: %(default)s)",
    )
    parser.add_argument(
        "--subset",
        type=whole(0),
        default=256,
        metavar="N",
        help="photos of these that the peers take; 0: all (default: %(default)s)",
    )
    command.add_sizes(parser)
    command.add_repeats(parser, 3)
    return parser


if __name__ == "__main__":
    sys.exit(main())
