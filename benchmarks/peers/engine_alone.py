"""The engine alone: the service's network over photos decoded beforehand; what `pipeline` could reach.

``python -m benchmarks.peers.engine_alone PATHS FIRST STEP START`` is one of several workers. It decodes
the photos FIRST, FIRST + STEP, … of the JSON list in the file PATHS, loads the network of the
configuration (with FRUITS_* in the environment), runs it once, waits for the file START, runs all, and
prints an :class:`EngineRun`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.harness.protocol import answer, wait_for_start
from benchmarks.peers.answers import EngineRun
from common import config
from processor.assembly import network_spec
from processor.network import engines
from processor.photos.decode import decode


def main(paths_file: str, first: str, step: str, start_file: str) -> None:
    settings = config.load()
    paths = json.loads(Path(paths_file).read_text(encoding="utf-8"))[int(first) :: int(step)]
    spec = network_spec(settings)  # the very network of the service
    pixels = np.stack(
        [
            decode(
                Path(path).read_bytes(),
                spec.input_size,
                max_pixels=settings.images.max_pixels,
                reduced_decode=settings.images.reduced_decode,
            ).pixels
            for path in paths
        ]
    )
    loaded = engines.load(spec)
    loaded.features(pixels[: loaded.batch_size])
    wait_for_start(Path(start_file))
    loaded.features(pixels)
    answer(EngineRun(len(pixels), time.time()))


if __name__ == "__main__":
    main(*sys.argv[1:])
