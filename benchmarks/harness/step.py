"""One step of a benchmark, in a process of its own: how long it took, and its memory."""

import time
from dataclasses import dataclass, field

from benchmarks.harness.usage import peak_rss


@dataclass(frozen=True, slots=True)
class Step:
    """``seconds`` of what is measured; ``rss``: this process's peak memory in bytes, with libraries."""

    seconds: float
    rss: int
    figures: dict[str, float] = field(default_factory=dict)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def step(self, **figures: float) -> Step:
        return Step(self.seconds(), peak_rss(), figures)

    def seconds(self) -> float:
        return time.perf_counter() - self._began
