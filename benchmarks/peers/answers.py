"""What each peer's process answers, see :func:`benchmarks.harness.protocol.answer`.

Apart from the processes, so that reading an answer loads no TensorFlow, Spark or scikit-learn.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KerasRun:
    """:mod:`benchmarks.peers.bare_keras`."""

    photos: int
    photos_per_s: float
    warm_at: float  # Unix time at which the first batch was through
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class UdfRun:
    """:mod:`benchmarks.peers.keras_udf`."""

    photos: int  # rows written
    photos_per_s: float
    warm_at: float  # Unix time at which the first write was done


@dataclass(frozen=True, slots=True)
class EngineRun:
    """:mod:`benchmarks.peers.engine_alone`."""

    photos: int
    ended_at: float  # Unix time


@dataclass(frozen=True, slots=True)
class RuntimeRun:
    """:mod:`benchmarks.peers.runtime_process`."""

    photos: int
    photos_per_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class PcaRun:
    """:mod:`benchmarks.peers.pca`: seconds, and the BLAS kernel if it used a BLAS that names it."""

    start: float  # of Spark; does not count
    fit: float
    whole: float  # fit, projection and writing
    kernel: str | None = None
