"""The contestants of `engine`: what is made for them beforehand, and a run of one of them."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import service as _service
from benchmarks.harness.child import Child, output_of, run_together
from benchmarks.peers.runtime_process import PEER_BATCH
from demo import sample
from demo.fruit import SPECIES
from processor.__main__ import network_spec
from processor.network.engines import default_engine
from processor.network.spec import NetworkSpec
from processor.spark.resources import cores, share_cores
from processor.spark.session import worker_environment

PHOTOS = 64  # that each contestant takes in turn
LAST_BATCH_SECONDS = 120  # that the batch may take in which the time is up
OURS = ("tensorflow", "ncnn", "ncnn_one_process")
PEERS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "mnn": "MNN"}  # name: package


@dataclass(frozen=True, slots=True)
class Contestant:
    """A runtime and how it shares the cores; see :mod:`benchmarks.peers.runtime_process`."""

    name: str
    model: str
    processes: int
    threads: int  # of each; 0: its default
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Field:
    """The contestants at one input size."""

    size: int
    contestants: list[Contestant]
    pixels: Path
    folder: Path
    environment: dict[str, str]


def prepare(size: int, peers_python: str, scratch: Path) -> tuple[Field, dict[str, str]]:
    """Everything made that the contestants load; and the peers' packages that are installed."""
    folder = scratch / str(size)
    folder.mkdir()
    environment = _service.settings(scratch / "work", size)
    environment["FRUITS_MODEL__ENGINE"] = default_engine()
    config = _service.config_of(environment)
    spec = network_spec(config)
    plain = replace(spec, engine="tensorflow", compiled=None)
    every = cores()
    contestants = [
        Contestant("keras", plain.to_json(), 1, 0),
        Contestant("tensorflow", plain.to_json(), 1, every),
    ]
    if spec.engine == "ncnn":
        shared = share_cores(spec, config.compute.workers, config.compute.threads)
        contestants += [
            Contestant("ncnn", spec.to_json(), *shared),
            Contestant("ncnn_one_process", spec.to_json(), 1, every),
        ]
    peers = _prepare_peers(spec, folder, peers_python)
    for name, package in PEERS.items() if "onnx" in peers else ():
        if package in peers:
            model = str(folder / ("vgg16.mnn" if name == "mnn" else "vgg16.onnx"))
            # The others gain nothing from more processes, openvino loses half.
            shape = (every, 1) if name == "mnn" else (1, every)
            contestants.append(Contestant(name, model, *shape, python=peers_python))
    pixels = folder / "pixels.npy"
    np.save(pixels, _photos(size))
    return Field(size, contestants, pixels, folder, environment), peers


def run(
    field: Field, contestant: Contestant, seconds: float
) -> tuple[float, int, list[np.ndarray]]:
    """Photos a second and peak memory of all its processes, and the features that each found."""
    go = field.folder / "go"
    saved = [field.folder / f"features{n}.npy" for n in range(contestant.processes)]
    given = [contestant.name, contestant.model, str(contestant.threads), str(field.pixels)]
    ours = worker_environment() if contestant.name in OURS else {}
    children = (
        Child(
            "benchmarks.peers.runtime_process",
            [*given, str(seconds), str(go), str(features)],
            field.environment | ours,
            field.folder / f"{contestant.name}{n}.out",
            contestant.python,
        )
        for n, features in enumerate(saved)
    )
    ended, _ = run_together(children, go, seconds + LAST_BATCH_SECONDS)
    told = [child.told() for child in ended]
    rate = sum(each["photos_per_s"] for each in told)
    rss = sum(each["peak_rss_bytes"] for each in told)
    return rate, rss, [np.load(path) for path in saved]


def _photos(size: int) -> np.ndarray:
    """Drawn photos, decoded: uint8 (PHOTOS, size, size, 3)."""
    drawn = [sample.draw(SPECIES[n % len(SPECIES)], n) for n in range(PHOTOS)]
    return np.stack([np.asarray(photo.resize((size, size))) for photo in drawn])


def _prepare_peers(spec: NetworkSpec, folder: Path, python: str) -> dict[str, str]:
    arguments = [spec.weights_path, str(spec.input_size), str(PEER_BATCH), str(folder)]
    return json.loads(output_of("benchmarks.peers.onnx_file", *arguments, python=python))
