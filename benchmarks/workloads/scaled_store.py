"""A store of as many photos as wanted, and what each thing that the service does with it costs.

``python -m benchmarks.workloads.scaled_store STEP FOLDER WORK_DIR [NUMBER …]`` takes one step, each in a
process of its own, and prints a :class:`Step`. FOLDER is a local one and holds the store; the photos are
:mod:`.random_photos`, in a bucket that :mod:`.listed_photos` lists.
"""

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness.opened import Opened
from benchmarks.harness.protocol import answer
from benchmarks.harness.settings import config_of
from benchmarks.harness.step import Clock, Step
from benchmarks.harness.usage import peak_rss
from benchmarks.workloads import random_photos
from benchmarks.workloads.disk_store import BATCH, OnDisk, fill, written_in
from benchmarks.workloads.drawn_features import MODEL
from benchmarks.workloads.listed_photos import BUCKET
from benchmarks.workloads.random_photos import FILE_ROWS, Drawn
from benchmarks.workloads.scaled_matrix import grow, matrix
from ingest.events import ObjectEvent
from ingest.queue import Queue, connect
from processor.pipeline.comparison import Scope
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.pipeline.reconciliation import Reconciliation
from processor.service.preflight import find_queue
from processor.service.status import status
from processor.service.why import why
from processor.store import delta
from processor.store.delta import LOG
from processor.store.index_snapshot import IndexSnapshot

COMMITS = 20  # one of which writes a checkpoint of the log
LOOKUPS = 10
OVERWRITTEN = "0" * 32  # the version of photos with new content


def start(layout: OnDisk, work: Path) -> Step:
    """Open the store with whatever ``work`` has of an index, as the service does at its start."""
    clock = Clock()
    store = FeatureStore.open(layout.store, MODEL, work)
    seconds = clock.seconds()
    rows = len(store.features)
    clock = Clock()
    store.close()
    closed, size = clock.seconds(), (work / "features.sqlite").stat().st_size
    return Step(seconds, peak_rss(), {"rows": rows, "close_s": closed, "index_bytes": size})


def snapshot(layout: OnDisk, work: Path) -> Step:
    """Write the index as the snapshot of the table."""
    clock = Clock()
    copy = work / "copy"
    shutil.copyfile(work / "features.sqlite", copy)
    IndexSnapshot(layout.store.features).write(copy)
    return clock.step()


class Uploads:
    """Micro-batches of one store, by the service's own code, with drawn features."""

    def __init__(self, layout: OnDisk, work: Path) -> None:
        self._layout = layout
        self._store = FeatureStore.open(layout.store, MODEL, work)
        self._batches = MicroBatches(self._store, layout, self._extract)
        self._drawn = Drawn.of(blocks=1)
        self._extracting = 0.0

    def put(self, numbers: Sequence[int], etag: str = "") -> float:
        """Seconds to make the photos durable, once they are computed; ``etag``: not their first."""
        places = random_photos.ranks(numbers)
        names, etags = random_photos.keys(places), random_photos.etags(places)
        events = [
            ObjectEvent(
                *(BUCKET, key, None, etag or first, 100_000),
                *("ObjectCreated:Put", datetime.now(UTC), None),
            )
            for key, first in zip(names.to_pylist(), etags.to_pylist(), strict=True)
        ]
        self._extracting = 0.0
        clock = Clock()
        done = self._batches.handle(events, 0)
        seconds = clock.seconds() - self._extracting
        if done.stored != len(events):
            raise SystemExit(f"{done.stored} of {len(events)} photos were stored")
        return seconds

    def version(self) -> int:
        return self._store.features.table_version

    def overwritten(self, numbers: Sequence[int]) -> int:
        """How many of them are."""
        names = random_photos.keys(random_photos.ranks(numbers)).to_pylist()
        found = self._store.features.find(names).values()
        return sum(each.object_version == OVERWRITTEN for each in found)

    def close(self) -> None:
        self._batches.close()

    def _extract(self, work: Sequence[Work]) -> list[Extracted]:
        clock = Clock()
        shares = (work[at : at + FILE_ROWS] for at in range(0, len(work), FILE_ROWS))
        results = [self._write(share) for share in shares]
        self._extracting += clock.seconds()
        return results

    def _write(self, work: Sequence[Work]) -> Extracted:
        names = [each.key for each in work]
        versions = [each.event_version or "" for each in work]
        labels = [self._layout.label_of(name) or "" for name in names]
        file = self._drawn.write_rows(self._layout.store.features, names, versions, labels)
        stored = zip(names, versions, strict=True)
        return Extracted(file, tuple(Outcome(key, Kind.STORED, version) for key, version in stored))


def commits(layout: OnDisk, work: Path, stored: int, small: int) -> Step:
    """COMMITS micro-batches of new photos, in turn with as many in a store of ``small`` photos.

    That one is ``small`` beside FOLDER.
    """
    there = OnDisk(BUCKET, folder=str(Path(layout.folder).with_name("small")))
    uploads, yardstick = Uploads(layout, work), Uploads(there, work / "yardstick")
    ours, theirs = [], []
    for turn in range(COMMITS):
        new = range(turn * BATCH, (turn + 1) * BATCH)
        ours.append(uploads.put(range(stored + new.start, stored + new.stop)))
        theirs.append(yardstick.put(range(small + new.start, small + new.stop)))
    rss = peak_rss()
    uploads.close()
    yardstick.close()
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Step(
        statistics.median(ours),
        rss,
        {
            "over_small": statistics.median(ratios),
            "small_s": statistics.median(theirs),
            "most_s": max(ours),
            "photos": COMMITS * BATCH,
        },
    )


def overwrites(layout: OnDisk, work: Path, stored: int) -> Step:
    """A micro-batch of photos from anywhere that have new content; ``stale``: before it they had not."""
    uploads = Uploads(layout, work)
    random = np.random.default_rng(stored)
    chosen = random.choice(stored, min(BATCH, stored), replace=False).tolist()
    before, version = written_in(layout.store.features), uploads.version()
    stale = len(chosen) - uploads.overwritten(chosen)
    seconds = uploads.put(chosen, OVERWRITTEN)
    written = written_in(layout.store.features) - before
    taken = uploads.version() - version
    rss = peak_rss()
    uploads.close()
    return Step(seconds, rss, {"bytes": written, "commits": taken, "stale": stale})


def ask_status(layout: OnDisk, _work: Path) -> Step:
    """What ``python -m processor status`` does; ``open_s``: of it, to open the features."""
    queue = config_of(os.environ).queue
    read, clock = bytes_read(), Clock()
    table = delta.open_table(layout.store.features)
    assert table is not None
    opened = {"open_s": clock.seconds(), "open_bytes": bytes_read() - read}
    read, clock = bytes_read(), Clock()
    found = status(layout.store, queue.name, queue.dead_letter_name)
    done = clock.step(bytes=bytes_read() - read, photos=found["photos"], **opened)
    entries = [*Path(layout.store.features, LOG).iterdir()]
    newest = max((each for each in entries if each.suffix == ".parquet"), default=None)
    return Step(
        done.seconds,
        done.rss,
        {
            **done.figures,
            "files": found["features"]["files"],
            "version": table.table_version,
            "log_bytes": sum(each.stat().st_size for each in entries),
            "checkpoint_bytes": newest.stat().st_size if newest else 0,
        },
    )


def ask_why(layout: OnDisk, _work: Path, stored: int) -> Step:
    """What ``python -m processor why`` does, for some photos; data files that it opens in all tables."""
    queue = config_of(os.environ).queue.dead_letter_name
    chosen = np.random.default_rng(2).choice(stored, LOOKUPS, replace=False).tolist()
    tables = [
        folder
        for folder in Path(layout.folder).rglob("*")
        if folder.is_dir() and not {"_delta_log", "_index"} & set(folder.parts)
    ]
    seconds, files, read = [], [], []
    with Opened(tables) as opened:
        for key in random_photos.keys(random_photos.ranks(chosen)).to_pylist():
            opened.names()
            before, clock = bytes_read(), Clock()
            known = why(layout, key, queue)
            seconds.append(clock.seconds())
            read.append(bytes_read() - before)
            files.append(sum(name.endswith(".parquet") for name in opened.names()))
            if known["features"] is None or known["reduced"] is None:
                raise SystemExit(f"{key} was not found")
    return Step(
        statistics.median(seconds),
        peak_rss(),
        {
            "files": statistics.mean(files),
            "most_files": max(files),
            "bytes": statistics.median(read),
        },
    )


def reconcile(layout: OnDisk, work: Path, stored: int) -> Step:
    """What ``python -m processor reconcile`` does."""
    config = config_of(os.environ)
    queue = Queue(connect(1), find_queue(config.queue.name, "queue.name"))
    clock, used = Clock(), time.process_time()
    scope = Scope(prefix=layout.photos_prefix)
    done = Reconciliation(layout, work, queue.send_all).run(scope)
    cpu = time.process_time() - used
    return clock.step(found=done.found, objects=done.objects, cpu_s=cpu, stored=stored)


def bytes_read() -> int:
    """By this process so far, of files and connections, whether cached or not."""
    return int(psutil.Process().io_counters().read_chars)


STEPS: dict[str, Callable[..., Step]] = {
    "fill": fill,
    "start": start,
    "snapshot": snapshot,
    "commits": commits,
    "overwrites": overwrites,
    "status": ask_status,
    "why": ask_why,
    "reconcile": reconcile,
    "matrix": matrix,
    "grow": grow,
}


def main(step: str, folder: str, work: str, *numbers: str) -> None:
    Path(work).mkdir(parents=True, exist_ok=True)
    answer(STEPS[step](OnDisk(BUCKET, folder=folder), Path(work), *map(int, numbers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
