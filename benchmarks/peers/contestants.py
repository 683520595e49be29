"""The contestants of `engine`: what they load is prepared here, and one of them is run."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import settings
from benchmarks.harness.child import Child, output_of, parse
from benchmarks.harness.together import run_together
from benchmarks.peers.answers import RuntimeRun
from benchmarks.peers.runtimes import PEER_BATCH
from demo import sample
from demo.fruit import SPECIES
from processor.assembly import network_spec
from processor.errors import NetworkError
from processor.network.compiled import COMPILERS
from processor.network.spec import NetworkSpec
from processor.pipeline.sizing import share_cores
from processor.spark.resources import cores
from processor.spark.session import worker_environment

PHOTOS = 64  # that each contestant runs in turn
LAST_BATCH_SECONDS = 120  # that the batch may take in which the time runs out
OURS = ("tensorflow", *COMPILERS, *(f"{engine}_one_process" for engine in COMPILERS))
PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "mnn": "MNN"}  # name: package
PROCESS = "benchmarks.peers.runtime_process"
CONVERTER = "benchmarks.peers.onnx_file"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A runtime and how it shares the cores; ``model`` as :func:`benchmarks.peers.runtimes.load`."""

    name: str
    model: str
    processes: int
    threads: int  # of each; 0: its default
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class LineUp:
    """The contestants at one input size, and the pixels that they all read."""

    size: int
    contestants: list[Contestant]
    pixels: Path
    folder: Path
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's run: photos a second and peak memory, summed, and each process's features."""

    photos_per_s: float
    peak_rss_bytes: int
    features: list[np.ndarray]


def prepare(size: int, peers_python: str, scratch: Path) -> tuple[LineUp, dict[str, str]]:
    """Make everything that the contestants load; also, the versions of the peers' packages."""
    folder = scratch / str(size)
    folder.mkdir()
    environment = settings.environment(scratch / "work", size)
    spec = _spec("tensorflow", environment)
    config = settings.config_of(environment)
    every = cores()
    contestants = [
        Contestant("keras", spec.to_json(), 1, 0),
        Contestant("tensorflow", spec.to_json(), 1, every),
    ]
    for engine in COMPILERS:
        try:
            compiled = _spec(engine, environment)
        except NetworkError as error:
            print(f"left out: {engine}: {error}")
            continue
        shared = share_cores(compiled, config.compute.workers, config.compute.threads)
        contestants += [
            Contestant(engine, compiled.to_json(), *shared),
            Contestant(f"{engine}_one_process", compiled.to_json(), 1, every),
        ]
    packages = _convert(spec, folder, peers_python)
    for name, package in PEERS.items() if "onnx" in packages else ():
        if package in packages:
            model = str(folder / ("vgg16.mnn" if name == "mnn" else "vgg16.onnx"))
            # The others gain nothing from more processes, openvino loses half.
            shape = (every, 1) if name == "mnn" else (1, every)
            contestants.append(Contestant(name, model, *shape, python=peers_python))
    pixels = folder / "pixels.npy"
    np.save(pixels, _photos(size))
    return LineUp(size, contestants, pixels, folder, environment), packages


def run(line_up: LineUp, contestant: Contestant, seconds: float) -> Run:
    """All processes of one contestant, together, for at least so many seconds."""
    start = line_up.folder / "start"
    saved = [line_up.folder / f"features{n}.npy" for n in range(contestant.processes)]
    shared = [contestant.name, contestant.model, str(contestant.threads), str(line_up.pixels)]
    ours = worker_environment() if contestant.name in OURS else {}
    children = (
        Child(
            PROCESS,
            [*shared, str(seconds), str(start), str(features)],
            line_up.environment | ours,
            line_up.folder / f"{contestant.name}{n}.out",
            python=contestant.python,
        )
        for n, features in enumerate(saved)
    )
    ended, _ = run_together(children, start, seconds + LAST_BATCH_SECONDS)
    runs = [child.result(RuntimeRun) for child in ended]
    return Run(
        photos_per_s=sum(each.photos_per_s for each in runs),
        peak_rss_bytes=sum(each.peak_rss_bytes for each in runs),
        features=[np.load(path) for path in saved],
    )


def _spec(engine: str, environment: Mapping[str, str]) -> NetworkSpec:
    """What a service with this engine would run."""
    return network_spec(settings.config_of({**environment, "FRUITS_MODEL__ENGINE": engine}))


def _photos(size: int) -> np.ndarray:
    """Drawn photos, decoded: uint8 (PHOTOS, size, size, 3)."""
    drawn = [sample.draw(SPECIES[n % len(SPECIES)], n) for n in range(PHOTOS)]
    return np.stack([np.asarray(photo.resize((size, size))) for photo in drawn])


def _convert(spec: NetworkSpec, folder: Path, python: str) -> dict[str, str]:
    """Write the peers' files into ``folder``; the versions of the peers' packages."""
    arguments = [spec.weights_path, str(spec.input_size), str(PEER_BATCH), str(folder)]
    return parse(dict[str, str], output_of(CONVERTER, *arguments, python=python), CONVERTER)
