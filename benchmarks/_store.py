"""A driver's store: ``python -m benchmarks._store fill URI YARDSTICK WORK_DIR AWS_PID ROWS …``.

Fills features/ to each number of ROWS by micro-batches of 2,048 photos, as ingestion does, with small
files merged after each 28 (an hour of 16 photos a second), and there times micro-batches of 256: new
photos (each in turn with one to a fresh store at YARDSTICK of as many rows as the first of ROWS),
replaced ones, and, as a peer, new ones by delta-rs' own MERGE, which is what people write to have each
key once. Prints one JSON object a line.
"""

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pyarrow as pa

from benchmarks import _features
from processor import files, tables
from processor.background import Background
from processor.outcomes import Extracted, Kind, Outcome
from processor.schema import FEATURES
from processor.store import FeatureStore
from processor.upkeep import Upkeep

FILL, BATCH, TASKS = 2048, 256, 2
TEND_EVERY = 28
COMMITS, REPLACEMENTS, MERGES = 40, 5, 3  # 40: two checkpoints of the log among them


def fill(uri: str, yardstick: str, work_dir: str, aws_pid: str, *levels: str) -> None:
    aws = psutil.Process(int(aws_pid))
    photos = _photos()
    store = _opened(uri, Path(work_dir, "store"))
    stored = 0
    for level in map(int, levels):
        stored = _fill(store, uri, photos, stored, level)
        small = _opened(f"{yardstick}{level}/", Path(work_dir, f"yardstick-{level}"))
        _fill(small, f"{yardstick}{level}/", photos, 0, int(levels[0]))
        timed = _timed(store, small, photos, aws)
        small.close()
        print(json.dumps({"rows": level, **timed, **_others(store, uri, level)}), flush=True)


def _opened(uri: str, work_dir: Path) -> FeatureStore:
    return FeatureStore(uri, _features.MODEL, work_dir)


def _fill(
    store: FeatureStore, uri: str, photos: Iterator[pa.Table], stored: int, level: int
) -> int:
    """Add rows until there are ``level``."""
    while stored < level:
        count = min(FILL, level - stored)
        _settle(store, _extracted(store, photos, count))
        stored += count
        if store.features.version % TEND_EVERY == 0:
            _elsewhere("tend", uri)
    return stored


def _timed(
    store: FeatureStore, small: FeatureStore, photos: Iterator[pa.Table], aws: psutil.Process
) -> dict[str, Any]:
    """Micro-batches of new photos, to either store in turn: a machine that slows down hits both."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(COMMITS):
        for each, prefix in ((small, "yardstick_"), (store, "")):
            extracted = _extracted(each, photos, BATCH)
            before, own = sum(aws.cpu_times()[:2]), time.process_time()
            found[f"{prefix}commit"].append(_settle(each, extracted))
            found[f"{prefix}own"].append(time.process_time() - own)
            found[f"{prefix}aws"].append(sum(aws.cpu_times()[:2]) - before)
    return {**found, "rss": psutil.Process().memory_info().rss}


def _others(store: FeatureStore, uri: str, level: int) -> dict[str, Any]:
    again = [_settle(store, _replaced(store, seed)) for seed in range(REPLACEMENTS)]
    merged = _elsewhere("merge", f"{uri}features", str(level))
    store.features.refresh()
    return {
        "files": len(_paths(store)),
        "version": store.features.version,
        "replace": again,
        "merge": merged,
    }


def _photos() -> Iterator[pa.Table]:
    """Rows without end, FILL at a time."""
    for number, block in enumerate(_features.drawn(1 << 40, 0, FILL)):
        yield _features.table(block, f"{number:07}")


def _extracted(store: FeatureStore, photos: Iterator[pa.Table], count: int) -> list[Extracted]:
    """What the tasks of a micro-batch of new photos leave: a file each."""
    rows = next(photos).slice(0, count)
    share = -(-count // TASKS)
    return [_written(store, rows.slice(start, share)) for start in range(0, count, share)]


def _written(store: FeatureStore, rows: pa.Table) -> Extracted:
    file = files.write(store.features_folder, rows)
    stored = zip(rows["key"].to_pylist(), rows["version"].to_pylist(), strict=True)
    return Extracted(file, tuple(Outcome(key, Kind.STORED, version) for key, version in stored))


def _replaced(store: FeatureStore, seed: int) -> list[Extracted]:
    """A micro-batch of 16 photos that lie scattered over the table, with new content."""
    paths = sorted(_paths(store))
    chosen = np.random.default_rng(seed).choice(len(paths), min(16, len(paths)), replace=False)
    rows = [
        files.read(store.features_folder, paths[path]).slice(0, 1).to_pylist()[0] for path in chosen
    ]
    for row in rows:
        row["version"] = f"again-{seed}"
    return [_written(store, pa.Table.from_pylist(rows, schema=FEATURES))]


def _paths(store: FeatureStore) -> set[str]:
    table = tables.open_table(store.features_folder)
    return tables.paths(table) if table else set()


def _settle(store: FeatureStore, results: list[Extracted]) -> float:
    """Seconds from the plan to the durable outcome."""
    began = time.perf_counter()
    store.features.refresh()
    store.features.find([each.key for result in results for each in result.outcomes])
    store.settle(results, store.features.version, lambda _: True, {"batch": 0})
    return time.perf_counter() - began


def _elsewhere(*call: str) -> Any:
    """One of the functions below, in a process of its own: its memory is not the driver's."""
    command = [sys.executable, "-m", "benchmarks._store", *call]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


class _Here:
    """Background tasks in this process, without Spark."""

    def run(self, items: Sequence[Any], work: Callable[[Iterable[Any]], Iterable[Any]]) -> Any:
        return list(work(items))


def tend(uri: str) -> None:
    """Merge small files, as the service does every hour."""
    print(Upkeep(uri, 168, cast(Background, _Here())).compact("features", FEATURES))


def merge(folder: str, level: str) -> None:
    """Merge new photos MERGES times; print the seconds of each, from an open table on."""
    seconds = []
    for number, block in enumerate(_features.drawn(MERGES * BATCH, int(level), BATCH)):
        table = tables.open_table(folder)
        if table is None:
            raise SystemExit(f"{folder} is no table")
        rows = _features.table(block, f"merged-{level}-{number}")
        began = time.perf_counter()
        merger = table.merge(rows, "old.key = new.key", source_alias="new", target_alias="old")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


PARTS: dict[str, Callable[..., None]] = {"fill": fill, "merge": merge, "tend": tend}


if __name__ == "__main__":
    PARTS[sys.argv[1]](*sys.argv[2:])
