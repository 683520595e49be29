"""Questions to a store on the local disk, each in a process of its own, which prints a :class:`Run`.

``python -m benchmarks.workloads.asking similar|duplicates STORE SCRATCH``, as the commands do it but for
the network; ``… brute-force|all-pairs STORE SCRATCH``: the peers, scikit-learn over one array in memory.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from benchmarks.harness.peak import Peak
from benchmarks.harness.protocol import answer
from benchmarks.workloads import drawn_features
from common.layout import StoreLayout
from processor.answers.asked import Asked
from processor.answers.duplicates import duplicates
from processor.answers.nearest import Nearest, unit
from processor.answers.rows import Block, StoredRows
from processor.answers.similar import similar
from processor.store import datafiles, delta
from processor.store.schema import FEATURES

TOP = 10
COSINE = 0.999
COPIES = (
    100  # of a thousand rows one has a near-duplicate: each COPIES-th drawn row, one in ten times
)


@dataclass(frozen=True, slots=True)
class Run:
    """``seconds``, ``cpu``: of everything; ``search_s``, ``search_cpu``: of one photo's neighbours.

    The latter are 0 for pairs. Processor time is of all threads together.
    ``peak``, ``base``: bytes of this process, the most and before it began, without mapped files, whose
    pages can be dropped at any time. ``found``: the nearest photo's cosine, or photos in groups.
    """

    seconds: float
    cpu: float
    search_s: float
    search_cpu: float
    peak: int
    base: int
    found: float
    photos: int


Spent = tuple[float, float]  # seconds, and of processor time


def now() -> Spent:
    return time.monotonic(), time.process_time()


def since(began: Spent) -> Spent:
    seconds, cpu = now()
    return seconds - began[0], cpu - began[1]


def ask_similar(stored: StoredRows, _scratch: Path) -> tuple[float, Spent]:
    (query,) = drawn_features.drawn(1, seed=9)
    nearest = Nearest(query, TOP)
    for _ in range(2):  # once to have read
        began = now()
        stored.scan(lambda block: nearest.offer(block.features, block.keys, block.labels))
        search = since(began)
    found = similar(stored, "drawn", Asked(query, None), TOP)
    return found["neighbours"][0]["cosine"], search


def ask_duplicates(stored: StoredRows, scratch: Path) -> tuple[float, Spent]:
    return float(sum(map(len, duplicates(stored, COSINE, scratch)))), (0.0, 0.0)


def brute_force(stored: StoredRows, _scratch: Path) -> tuple[float, Spent]:
    (query,) = drawn_features.drawn(1, seed=9)
    index = NearestNeighbors(n_neighbors=TOP, metric="cosine", algorithm="brute").fit(_all(stored))
    began = now()
    distances, _ = index.kneighbors(query)
    return float(1 - distances[0, 0]), since(began)


def all_pairs(stored: StoredRows, _scratch: Path) -> tuple[float, Spent]:
    rows = _all(stored)
    index = NearestNeighbors(radius=1 - COSINE, metric="cosine", algorithm="brute").fit(rows)
    near = index.radius_neighbors(rows, return_distance=False)
    return float(sum(len(each) > 1 for each in near)), (0.0, 0.0)


def _all(stored: StoredRows) -> np.ndarray:
    parts: list[np.ndarray] = []

    def take(block: Block) -> None:
        parts.append(unit(block.features))

    stored.scan(take)
    return np.concatenate(parts)


QUESTIONS: dict[str, Callable[[StoredRows, Path], tuple[float, Spent]]] = {
    "similar": ask_similar,
    "duplicates": ask_duplicates,
    "brute-force": brute_force,
    "all-pairs": all_pairs,
}


def fill(store: str, rows: int) -> None:
    """A table of ``rows`` drawn rows, some of which are nearly another."""
    folder = StoreLayout(store).features
    table = delta.create_table(folder, FEATURES, drawn_features.MODEL)
    random = np.random.default_rng(7)
    added = []
    for number, block in enumerate(drawn_features.drawn(rows, block_rows=drawn_features.FILE_ROWS)):
        copies = block[::COPIES]
        block[1::COPIES] = copies[: len(block[1::COPIES])] * 1.01 + 0.005 * random.standard_normal(
            block[1::COPIES].shape, np.float32
        )
        added.append(datafiles.write(folder, drawn_features.table(block, f"0-{number:05}")))
    table.commit(FEATURES, added, ())


def main(question: str, store: str, argument: str) -> None:
    if question == "fill":
        fill(store, int(argument))
        return
    stored = StoredRows.newest(StoreLayout(store))
    assert stored
    with Peak() as peak:
        base, began = peak.now(), now()
        found, search = QUESTIONS[question](stored, Path(argument))
        spent = since(began)
    answer(Run(*spent, *search, peak.bytes, base, found, stored.photos))


if __name__ == "__main__":
    main(*sys.argv[1:])
