"""What is measured of one child that takes photos, and how long it may take for them."""

from dataclasses import dataclass

from benchmarks.harness.child import START_SECONDS

SLOWEST_PHOTOS_PER_S = 0.5  # a child slower than this is given up


@dataclass(frozen=True, slots=True)
class Measured:
    """One child at one input size."""

    photos_per_s: float  # in the steady state
    start_up_s: float  # until it is warm: the first batch durable, or through the network
    peak_rss_mb: float
    cpu_s: float  # of all its processes, over their whole life


def timeout_seconds(photos: int) -> float:
    """Seconds that a child may take for so many photos."""
    return START_SECONDS + photos / SLOWEST_PHOTOS_PER_S
