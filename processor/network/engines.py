"""The engines: the code that can run the network, and the networks loaded in this process."""

import threading
from collections.abc import Callable

from processor.network.engine_ncnn import NcnnNetwork
from processor.network.engine_tensorflow import TensorFlowNetwork
from processor.network.engine_winograd import WinogradNetwork
from processor.network.spec import Network, NetworkSpec
from processor.photos import memory

# Measured peaks of worker processes, rounded up: without and with fc2.
_NETWORK_BYTES = {
    "winograd": (200 << 20, 220 << 20),
    "ncnn": (600 << 20, 1800 << 20),
    "tensorflow": (1000 << 20, 2500 << 20),
}
_SHARED_BYTES = {"winograd": (240 << 20, 720 << 20)}  # of its file, which all workers map
_BYTES_PER_PIXEL = {"winograd": 1_000, "ncnn": 1_000, "tensorflow": 10_000}  # maps of 64 channels

# The fastest first.
ENGINES: dict[str, Callable[[NetworkSpec], Network]] = {
    "winograd": WinogradNetwork,
    "ncnn": NcnnNetwork,
    "tensorflow": TensorFlowNetwork,
}

_loaded: dict[NetworkSpec, Network] = {}
_loading = threading.Lock()


def load(spec: NetworkSpec) -> Network:
    """The network for ``spec``, loaded once in each process; thread-safe.

    With ``winograd`` the first call takes 0.2 s and maps 0.24 GB that all processes share (fc2: 0.5 s,
    0.7 GB), with ``ncnn`` 0.4 s and 0.4 GB (fc2: 2 s, 1.5 GB), with ``tensorflow`` 7 s and 0.8 GB (fc2:
    14 s and 3 GB, then 2 GB). Raises WeightsError or NetworkError if a file is missing, damaged or not
    the one that ``spec`` names, or if the engine cannot run here; ValueError for an unknown engine. A
    failure is not cached: the next call tries again.
    """
    if spec.engine not in ENGINES:
        raise ValueError(f"no engine {spec.engine!r}: choose one of {', '.join(ENGINES)}")
    with _loading:
        if spec not in _loaded:
            _loaded[spec] = ENGINES[spec.engine](spec)
        return _loaded[spec]


def shared_bytes(spec: NetworkSpec) -> int:
    """The memory that all workers together need beside what each has, in bytes."""
    return _SHARED_BYTES.get(spec.engine, (0, 0))[spec.layer == "fc2"]


def worker_bytes(spec: NetworkSpec) -> int:
    """The peak memory of one worker, in bytes: Python, the network, one batch of photos, small ones.

    Large photos are counted for all workers together, see :class:`processor.photos.memory.MemoryBudget`.
    """
    network = _NETWORK_BYTES[spec.engine][spec.layer == "fc2"]
    return network + _BYTES_PER_PIXEL[spec.engine] * spec.input_size**2 + memory.PROCESS_BYTES
