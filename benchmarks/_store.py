"""A driver's store: ``python -m benchmarks._store fill URI WORK_DIR AWS_PID ROWS …``.

Fills features/ to each number of ROWS by micro-batches of 2,048 photos, as ingestion does, with small
files merged after each 28 (an hour of 16 photos a second), and there times micro-batches of 256: new
photos, replaced ones, and, as a peer, new ones by delta-rs' own MERGE, which is what people write to
have each key once. Prints one JSON object a line.
"""

import json
import subprocess
import sys
import time
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


def fill(uri: str, work_dir: str, aws_pid: str, *levels: str) -> None:
    aws = psutil.Process(int(aws_pid))
    store = FeatureStore(uri, _features.MODEL, Path(work_dir))
    photos = _photos()
    stored = filled = 0
    for level in map(int, levels):
        while stored < level:
            count = min(FILL, level - stored)
            _settle(store, _extracted(store, photos, count))
            stored, filled = stored + count, filled + 1
            if filled % TEND_EVERY == 0:
                _elsewhere("tend", uri)
        print(json.dumps({"rows": level, **_measured(store, uri, photos, level, aws)}), flush=True)


def _measured(
    store: FeatureStore, uri: str, photos: Iterator[pa.Table], level: int, aws: psutil.Process
) -> dict[str, Any]:
    new, aws_seconds, own_seconds = [], 0.0, 0.0
    for _ in range(COMMITS):
        extracted = _extracted(store, photos, BATCH)
        before, own = sum(aws.cpu_times()[:2]), time.process_time()
        new.append(_settle(store, extracted))
        own_seconds += time.process_time() - own
        aws_seconds += sum(aws.cpu_times()[:2]) - before
    rss = psutil.Process().memory_info().rss
    again = [_settle(store, _replaced(store, seed)) for seed in range(REPLACEMENTS)]
    merged = _elsewhere("merge", f"{uri}features", str(level))
    store.features.refresh()
    return {
        "files": len(_paths(store)),
        "version": store.features.version,
        "commit": new,
        "aws": aws_seconds / COMMITS,
        "own": own_seconds / COMMITS,
        "replace": again,
        "merge": merged,
        "rss": rss,
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
