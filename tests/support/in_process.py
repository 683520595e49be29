"""Tasks in this process, for tests that are not about Spark."""

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any


class InThisProcess:
    """Stands in for processor.spark.background.Background: one task does everything, in place."""

    def run(self, items: Sequence, work: Callable[[Iterable], Iterable]) -> list:
        return list(work(iter(items)))

    def slots(self) -> int:
        return 1

    def broadcast(self, value: Any) -> SimpleNamespace:
        return SimpleNamespace(value=value, destroy=lambda: None)
