"""One runtime with VGG-16 in a process of its own, over pixels in memory; a contestant of `engine`.

``python -m benchmarks.peers.runtime_process NAME MODEL THREADS PIXELS SECONDS START FEATURES`` loads
MODEL, saves the features of the first photos in the file PIXELS as FEATURES, waits for the file START,
runs all photos in turn for SECONDS, and prints a :class:`RuntimeRun`.
"""

import itertools
import re
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.harness.protocol import answer, claim_stdout, wait_for_start
from benchmarks.peers import runtimes
from benchmarks.peers.answers import RuntimeRun

CHECKED = 32  # photos whose features are saved


def main(
    name: str, model: str, threads: str, pixels: str, seconds: str, start: str, features: str
) -> None:
    answers = claim_stdout()
    runtime = runtimes.load(name, model, int(threads))
    photos = np.load(pixels)
    batches = [
        photos[at : at + runtime.batch_size] for at in range(0, len(photos), runtime.batch_size)
    ]
    needed = -(-CHECKED // runtime.batch_size)
    found = np.concatenate([runtime.features(batch) for batch in batches[:needed]])
    np.save(features, found[:CHECKED])
    wait_for_start(Path(start), answers)
    done, began = 0, time.perf_counter()
    for batch in itertools.cycle(batches):
        runtime.features(batch)
        done += len(batch)
        if (elapsed := time.perf_counter() - began) >= float(seconds):
            break
    answer(RuntimeRun(done, done / elapsed, _peak_rss_bytes()), answers)


def _peak_rss_bytes() -> int:  # getrusage would count the parent's before exec
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


if __name__ == "__main__":
    main(*sys.argv[1:])
