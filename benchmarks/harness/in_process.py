"""Tasks in this process: what stands in for background tasks where a benchmark is not about Spark."""

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class InProcess:
    """One task does everything."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        return list(work(items))

    def slots(self) -> int:
        return 1

    def broadcast(self, value: Any) -> SimpleNamespace:
        return SimpleNamespace(value=value, destroy=lambda: None)
