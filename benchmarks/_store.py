"""The store of a driver, in a process of its own: ``python -m benchmarks._store URI WORK_DIR ROWS …``.

Fills features/ to each number of ROWS by micro-batches of 2,048 photos, as ingestion does (nothing is
merged), and there times micro-batches of 256: new photos, replaced ones, and, as a peer, new ones by
delta-rs' own MERGE, which is what people write to have each key once. Prints one JSON object a line.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from benchmarks import _features
from processor import files, tables
from processor.outcomes import Extracted, Kind, Outcome
from processor.schema import FEATURES
from processor.store import FeatureStore

FILL, BATCH, TASKS = 2048, 256, 2
COMMITS, REPLACEMENTS, MERGES = 20, 5, 3


def main(uri: str, work_dir: str, *levels: str) -> None:
    store = FeatureStore(uri, _features.MODEL, Path(work_dir))
    photos = _photos()
    for level in map(int, levels):
        while len(store.features) < level:
            count = min(FILL, level - len(store.features))
            _settle(store, _extracted(store, photos, count))
        print(json.dumps({"rows": level, **_measured(store, uri, photos, level)}), flush=True)


def _measured(
    store: FeatureStore, uri: str, photos: Iterator[pa.Table], level: int
) -> dict[str, Any]:
    new = [_settle(store, _extracted(store, photos, BATCH)) for _ in range(COMMITS)]
    rss = psutil.Process().memory_info().rss
    again = [_settle(store, _replaced(store, seed)) for seed in range(REPLACEMENTS)]
    merged = _merged(f"{uri}features", level)
    store.features.refresh()
    return {
        "files": len(_paths(store)),
        "version": store.features.version,
        "commit": new,
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


def _merged(folder: str, level: int) -> list[float]:
    """The peer, in a process of its own: its memory is not the driver's."""
    call = [sys.executable, "-m", "benchmarks._store", "merge", folder, str(level)]
    return json.loads(subprocess.run(call, stdout=subprocess.PIPE, check=True).stdout)


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


if __name__ == "__main__":
    merge(*sys.argv[2:]) if sys.argv[1] == "merge" else main(*sys.argv[1:])
