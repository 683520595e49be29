"""A driver's store:
``python -m benchmarks.workloads.growing_store fill URI WORK_DIR PID OTHER_AWS OTHER_PID ROWS …``.

PID and OTHER_PID are the processes of two embedded AWS, OTHER_AWS is the second's URL.

Fills features/ to each number of ROWS by micro-batches of 2,048 photos, as ingestion does, with small
files merged after each 28 (an hour of 16 photos a second), and there times micro-batches of 256: new
photos (each in turn with one of a yardstick: another process, with a fresh store of as many rows as the
first of ROWS in the AWS at OTHER_AWS), replaced ones, and, as a peer, new ones by delta-rs' own MERGE,
which is what people write to have each key once. Prints one JSON object a line.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import boto3
import numpy as np
import psutil
import pyarrow as pa

from benchmarks.workloads import drawn_features as _features
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.outcomes import Extracted, Kind, Outcome
from processor.spark.background import Background
from processor.store import datafiles, delta
from processor.store.compaction import Upkeep
from processor.store.schema import FEATURES

FILL, BATCH, TASKS = 2048, 256, 2
TEND_EVERY = 28
COMMITS, REPLACEMENTS, MERGES = 40, 5, 3  # 40: two checkpoints of the log among them


def fill(
    uri: str, work_dir: str, aws_pid: str, other_url: str, other_pid: str, *levels: str
) -> None:
    aws = psutil.Process(int(aws_pid))
    photos = _photos()
    store = FeatureStore(uri, _features.MODEL, Path(work_dir, "store"))
    stored = 0
    for level in map(int, levels):
        _fill(store, uri, photos, range(stored, level))
        stored = level
        place = [f"{uri}{level}/", f"{work_dir}/{level}", other_pid, levels[0]]
        with _yardstick(other_url, place) as commit_there:
            pairs = [(_commit(store, photos, aws), commit_there()) for _ in range(COMMITS)]
        rss = psutil.Process().memory_info().rss
        timed = {"here": [here for here, _ in pairs], "yardstick": [there for _, there in pairs]}
        others = _others(store, uri, level)
        print(json.dumps({"rows": level, "rss": rss, **timed, **others}), flush=True)


@contextmanager
def _yardstick(endpoint_url: str, place: Sequence[str]) -> Iterator[Callable[[], Any]]:
    """What makes and times a commit in the other process."""
    command = [sys.executable, "-m", "benchmarks.workloads.growing_store", "yardstick", *place]
    environment = os.environ | {"AWS_ENDPOINT_URL": endpoint_url}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as child:
        asks, answers = child.stdin, child.stdout
        if asks is None or answers is None:
            raise SystemExit("the yardstick has no pipes")

        def answer() -> Any:
            line = answers.readline()
            if not line:
                raise SystemExit(f"the yardstick ended with status {child.wait()}")
            return json.loads(line)

        def commit() -> Any:
            asks.write("commit\n")
            asks.flush()
            return answer()

        answer()  # it is filled
        yield commit


def yardstick(uri: str, work_dir: str, aws_pid: str, rows: str) -> None:
    """Fill a store, then make, time and print a commit for each line of the standard input."""
    aws, photos = psutil.Process(int(aws_pid)), _photos()
    store = FeatureStore(uri, _features.MODEL, Path(work_dir))
    _fill(store, uri, photos, range(int(rows)))
    print(json.dumps("filled"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(_commit(store, photos, aws)), flush=True)
    bucket, prefix = datafiles.split(uri)  # the next yardstick finds the AWS as this one did
    boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=prefix).delete()


def _fill(store: FeatureStore, uri: str, photos: Iterator[pa.Table], missing: range) -> None:
    """Add these rows."""
    for number, start in enumerate(missing[::FILL], start=1):
        _settle(store, _extracted(store, photos, min(FILL, missing.stop - start)))
        if number % TEND_EVERY == 0:
            _elsewhere("tend", uri)


def _commit(
    store: FeatureStore, photos: Iterator[pa.Table], aws: psutil.Process
) -> dict[str, float]:
    """Seconds for a micro-batch of new photos, and of processors' time, ours and the AWS'."""
    extracted = _extracted(store, photos, BATCH)
    before, own = sum(aws.cpu_times()[:2]), time.process_time()
    seconds = _settle(store, extracted)
    own = time.process_time() - own
    return {"seconds": seconds, "own": own, "aws": sum(aws.cpu_times()[:2]) - before}


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
    file = datafiles.write(store.features_folder, rows)
    stored = zip(rows["key"].to_pylist(), rows["version"].to_pylist(), strict=True)
    return Extracted(file, tuple(Outcome(key, Kind.STORED, version) for key, version in stored))


def _replaced(store: FeatureStore, seed: int) -> list[Extracted]:
    """A micro-batch of 16 photos that lie scattered over the table, with new content."""
    paths = sorted(_paths(store))
    chosen = np.random.default_rng(seed).choice(len(paths), min(16, len(paths)), replace=False)
    rows = [
        datafiles.read(store.features_folder, paths[path]).slice(0, 1).to_pylist()[0]
        for path in chosen
    ]
    for row in rows:
        row["version"] = f"again-{seed}"
    return [_written(store, pa.Table.from_pylist(rows, schema=FEATURES))]


def _paths(store: FeatureStore) -> set[str]:
    table = delta.open_table(store.features_folder)
    return delta.paths(table) if table else set()


def _settle(store: FeatureStore, results: list[Extracted]) -> float:
    """Seconds from the plan to the durable outcome."""
    began = time.perf_counter()
    store.features.refresh()
    store.features.find([each.key for result in results for each in result.outcomes])
    store.settle(results, store.features.version, lambda _: True, {"batch": 0})
    return time.perf_counter() - began


def _elsewhere(*call: str) -> Any:
    """One of the functions below, in a process of its own: its memory is not the driver's."""
    command = [sys.executable, "-m", "benchmarks.workloads.growing_store", *call]
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
        table = delta.open_table(folder)
        if table is None:
            raise SystemExit(f"{folder} is no table")
        rows = _features.table(block, f"merged-{level}-{number}")
        began = time.perf_counter()
        merger = table.merge(rows, "old.key = new.key", source_alias="new", target_alias="old")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


PARTS: dict[str, Callable[..., None]] = {
    "fill": fill,
    "merge": merge,
    "tend": tend,
    "yardstick": yardstick,
}


if __name__ == "__main__":
    PARTS[sys.argv[1]](*sys.argv[2:])
