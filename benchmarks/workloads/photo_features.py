"""The features of photos, by the service's own decoder and network."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.harness import settings
from processor.assembly import network_spec
from processor.network import engines
from processor.network.spec import Features, Network
from processor.photos.decode import Pixels

BATCH = 32


def setting(weights: Path | None) -> dict[str, str]:
    """What a result names beside :func:`.settings.overridden`, and above it."""
    return {"FRUITS_MODEL__WEIGHTS": str(weights.resolve())} if weights else {}


def network(weights: Path | None, size: int, scratch: Path) -> Network:
    """The network that the service would load, on all cores; ``weights``: trained ones, else random.

    Minutes, because it is compiled in ``scratch`` and compared with Keras.
    """
    environment = settings.environment(scratch / "work", size) | setting(weights)
    return engines.load(replace(network_spec(settings.config_of(environment)), threads=0))


def of(loaded: Network, pixels: Iterable[Pixels]) -> Features:
    """Float32 (n, d) of n photos, at least one. Memory: a batch, and the result."""
    parts, rest = [], iter(pixels)
    while batch := list(islice(rest, BATCH)):
        parts.append(loaded.features(np.stack(batch)))
    return np.concatenate(parts)
