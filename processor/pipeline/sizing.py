"""Sizing: how many tasks of ingestion fit this machine, and what each may use of it.

Called where the tasks run: on one machine by the driver for all, on a cluster by each worker for itself.
"""

import os
import tempfile
from pathlib import Path

from processor.network import engines
from processor.network.spec import NetworkSpec
from processor.photos.memory import MemoryBudget
from processor.spark.resources import cores, memory_bytes

RESERVED_BYTES = 3 << 30  # the JVM, the driver, the source's process, the system
LEAST_PHOTO_BYTES = 256 << 20  # of large photos: a progressive JPEG of 40 megapixels, a WebP of 15


def share_cores(spec: NetworkSpec, workers: int = 0, threads: int = 0) -> tuple[int, int]:
    """The number of workers that run the network, and of threads in each: as given, or chosen if 0.

    Together they use each core once. ncnn is fastest with a worker for each core (at 224 px one worker
    with two threads reaches 0.87 of two with one), winograd as fast either way, TensorFlow fastest with
    few workers that have many threads. No more workers are chosen than fit into memory, but always at
    least one.
    """
    if not workers:
        wanted = max(1, cores() // 4) if spec.engine == "tensorflow" else cores()
        free = memory_bytes() - RESERVED_BYTES - photo_bytes() - engines.shared_bytes(spec)
        workers = max(1, min(wanted, free // engines.worker_bytes(spec)))
    return workers, threads or max(1, cores() // workers)


def photo_bytes() -> int:
    """The memory set aside for decoding large photos, in bytes: an eighth of the machine's.

    With 16 GB any photo of 100 megapixels passes, also the costliest (WebP, 16 bytes a pixel).
    """
    return max(LEAST_PHOTO_BYTES, memory_bytes() // 8)


def memory_budget() -> MemoryBudget:
    """The budget of :func:`photo_bytes`, which all services of this user on this machine share.

    It is counted in the folder for temporary files.
    """
    file = Path(tempfile.gettempdir(), f"fruits-memory-{os.getuid()}").resolve()
    return MemoryBudget(photo_bytes(), file)
