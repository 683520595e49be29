"""A store in a local folder, filled with as many of :mod:`.random_photos` as wanted."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.harness.step import Clock, Step
from benchmarks.workloads import random_photos
from benchmarks.workloads.drawn_features import MODEL
from benchmarks.workloads.random_photos import Drawn
from common.layout import BucketLayout, StoreLayout
from processor.spark.resources import cores
from processor.store import delta, key_digests
from processor.store.compaction import compact
from processor.store.schema import FEATURES

BATCH = 2048  # photos of a micro-batch
COMMITTED = 32 * BATCH  # that a filled store has in one commit; then small files are merged
NEW_SHARE = 1 / 16  # of a large store's photos that are new when its files are merged

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class OnDisk(BucketLayout):
    """A bucket whose store lies in a local folder, because the embedded AWS has only memory."""

    folder: str = ""

    @property
    def store(self) -> StoreLayout:
        return StoreLayout(f"{self.folder}/")


class Threads:
    """Tasks that run in threads of this process."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        share = max(1, -(-len(items) // cores()))
        shares = [items[at : at + share] for at in range(0, len(items), share)]
        with ThreadPoolExecutor(cores()) as pool:
            return [each for some in pool.map(lambda s: list(work(s)), shares) for each in some]


def fill(layout: OnDisk, _work: Path, start: int, stop: int) -> Step:
    """Add the photos from ``start`` on, in fewer commits than the service would need, and merge files.

    The log has the bytes that it would have of micro-batches: all files, all keys' digests.
    """
    clock, drawn = Clock(), Drawn.of()
    folder = layout.store.features
    table = delta.create_table(folder, FEATURES, MODEL)
    merged = 0.0
    at = compacted = start
    while at < stop:
        add(table, drawn, range(at, min(at + COMMITTED, stop)))
        at = min(at + COMMITTED, stop)
        if at < stop and at - compacted < at * NEW_SHARE:
            continue
        began, compacted = time.perf_counter(), at
        while compact(folder, FEATURES, Threads()):
            table.refresh()
            table.vacuum(0)  # or the disk would hold all that was ever merged
        merged += time.perf_counter() - began
        print(f"{at:,}", file=sys.stderr, flush=True)
    return clock.step(compaction_s=merged)


def add(table: delta.Table, drawn: Drawn, numbers: range) -> None:
    """Commit these photos, in files as tasks write them."""
    with ThreadPoolExecutor(cores()) as pool:
        files = list(
            pool.map(lambda part: drawn.write(table.folder, part), random_photos.parts(numbers))
        )
    names = random_photos.keys(random_photos.ranks(numbers)).to_pylist()
    about = {"batch": 0, "photos": len(numbers), key_digests.KEYS: key_digests.encode(names)}
    table.commit(FEATURES, files, (), metadata=about)


def written_in(folder: str) -> int:
    """Bytes of all files there."""
    return sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
