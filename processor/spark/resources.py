"""The machine: the cores and the memory that the service may use, and how it shares them out."""

import os
from pathlib import Path

from processor.network.spec import NetworkSpec

RESERVED_BYTES = 3 << 30  # the JVM, the driver, the source's process, the system

# Measured peaks of worker processes, rounded up.
_NETWORK_BYTES = {"ncnn": (600 << 20, 1800 << 20), "tensorflow": (1000 << 20, 2500 << 20)}
_BYTES_A_PIXEL = {"ncnn": 1_000, "tensorflow": 10_000}  # maps of 64 channels; 16 photos at once
_CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or less where systemd or a container says."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits()])


def share_cores(spec: NetworkSpec, workers: int = 0, threads: int = 0) -> tuple[int, int]:
    """Workers that run the network at a time, and threads of each: as asked, or (0) chosen.

    Together they fill the cores once. ncnn is fastest with a worker for each core (at 224 px one
    worker with two threads reaches 0.87 of two with one), TensorFlow with few that have many
    threads. There are no more workers than fit into memory.
    """
    if not workers:
        wanted = cores() if spec.engine == "ncnn" else max(1, cores() // 4)
        room = (memory_bytes() - RESERVED_BYTES) // worker_bytes(spec)
        workers = max(1, min(wanted, room))
    return workers, threads or max(1, cores() // workers)


def worker_bytes(spec: NetworkSpec) -> int:
    """What one worker takes at its peak: Python, the network, a batch of photos in it."""
    network = _NETWORK_BYTES[spec.engine][spec.layer == "fc2"]
    return network + _BYTES_A_PIXEL[spec.engine] * spec.input_size**2


def _limits() -> list[int]:
    """``memory.max`` (and the softer ``memory.high``) of our control group and all above it."""
    folder = _CGROUPS / _group()
    found = []
    for each in (folder, *folder.parents):
        for name in ("memory.max", "memory.high"):
            try:
                found.append(int((each / name).read_text()))
            except (OSError, ValueError):  # none there, or "max"
                continue
        if each == _CGROUPS:
            break
    return found


def _group() -> str:
    """The name of our control group (version 2), empty if there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::")), "")
